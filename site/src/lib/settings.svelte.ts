/** What a visitor prefers, kept in this browser: language, colours, whether single keys are shortcuts. */
import { type Words, en } from './locales/en';
import { ja } from './locales/ja';
import { ko } from './locales/ko';
import { zh } from './locales/zh';
import type { Lang } from './vocabulary';

export type Theme = 'auto' | 'light' | 'dark';

export const LANGUAGES: Record<Lang, { own: string; words: Words }> = {
  en: { own: 'English', words: en },
  ja: { own: '日本語', words: ja },
  zh: { own: '中文', words: zh },
  ko: { own: '한국어', words: ko },
};

function stored<T>(key: string, fallback: T, allowed: (value: unknown) => boolean): T {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(`kaogen.${key}`) ?? 'null');
    return allowed(value) ? (value as T) : fallback;
  } catch {
    return fallback;
  }
}

function store(key: string, value: unknown): void {
  try {
    localStorage.setItem(`kaogen.${key}`, JSON.stringify(value));
  } catch {
    // Private windows may refuse; the choice then lasts as long as the page.
  }
}

function browserLanguage(): Lang {
  const wanted = navigator.languages.map((name) => name.slice(0, 2));
  return (wanted.find((name) => name in LANGUAGES) as Lang | undefined) ?? 'en';
}

class Settings {
  lang = $state<Lang>(stored('lang', browserLanguage(), (value) => String(value) in LANGUAGES));
  theme = $state<Theme>(stored('theme', 'auto', (value) => ['auto', 'light', 'dark'].includes(String(value))));
  shortcuts = $state(stored('shortcuts', true, (value) => typeof value === 'boolean'));

  /** Writes the choices down and to the page's root element; call from an effect. */
  apply(): void {
    const root = document.documentElement;
    root.lang = this.lang;
    if (this.theme === 'auto') delete root.dataset.theme;
    else root.dataset.theme = this.theme;
    store('lang', this.lang);
    store('theme', this.theme);
    store('shortcuts', this.shortcuts);
  }
}

export const settings = new Settings();

/** The page's words in the chosen language: `t('lock', { group: 'Ears' })`. */
export function t(key: keyof Words, values: Record<string, string | number> = {}): string {
  const line = LANGUAGES[settings.lang].words[key];
  return line.replaceAll(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** A tag's or group's name in the chosen language, capitalised where the script has capitals. */
export function nameOf(item: { name: string; names: Record<string, string> }): string {
  const name = item.names[settings.lang] || item.names.en || item.name;
  return name.charAt(0).toUpperCase() + name.slice(1);
}
