import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

// `npm run dev` serves the page with hot reload and passes the API on to a running `kaogen serve`.
const api = process.env.KAOGEN_API ?? 'http://127.0.0.1:8000';

export default defineConfig({
  plugins: [svelte()],
  // Relative, so that the page also works below a path.
  base: './',
  build: {
    outDir: '../src/kaogen/server/static',
    emptyOutDir: true,
    target: 'es2022',
    // The polyfill would be an inline script, which the server's CSP refuses.
    modulePreload: { polyfill: false },
    // Small assets stay files: one origin, no data: URLs in the CSS.
    assetsInlineLimit: 0,
  },
  server: { proxy: { '/v1': api } },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
