// Before the first paint, so that a chosen theme never flashes in late. A file of its own: the CSP allows no inline script.
try {
  const theme = JSON.parse(localStorage.getItem('kaogen.theme') || 'null');
  if (theme === 'dark' || theme === 'light') document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be switched off; the system's theme is used then.
}
