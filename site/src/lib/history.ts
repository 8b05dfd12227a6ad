/** Recent and starred characters, kept in this browser's IndexedDB, keyed by recipe and never by position. */
import { type Recipe, keyOf } from './recipe';

export interface Entry {
  key: string;
  recipe: Recipe;
  /** Milliseconds since 1970, when it was first drawn. */
  at: number;
  /** 1 when starred, else 0. */
  starred: 0 | 1;
  alt: string;
}

const STORE = 'characters';
/** Recent characters beyond this many are forgotten, oldest first; stars never are. */
const KEEP = 120;

function promised<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error('IndexedDB'));
  });
}

let opened: Promise<IDBDatabase> | null = null;

function database(): Promise<IDBDatabase> {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open('kaogen', 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: 'key' });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error('IndexedDB'));
  });
  return opened;
}

async function store(mode: IDBTransactionMode): Promise<IDBObjectStore> {
  return (await database()).transaction(STORE, mode).objectStore(STORE);
}

/** All entries, newest first; none when the browser gives no storage. */
export async function load(): Promise<Entry[]> {
  try {
    const entries = await promised<Entry[]>((await store('readonly')).getAll());
    return entries.sort((a, b) => b.at - a.at);
  } catch {
    return [];
  }
}

export async function save(entry: Entry): Promise<void> {
  try {
    await promised((await store('readwrite')).put(entry));
  } catch {
    // Without storage the strip still works until the page is closed.
  }
}

export async function forget(keys: string[]): Promise<void> {
  try {
    const target = await store('readwrite');
    for (const key of keys) target.delete(key);
  } catch {
    // As above.
  }
}

export function entryOf(recipe: Recipe, alt: string): Entry {
  return { key: keyOf(recipe), recipe, at: Date.now(), starred: 0, alt };
}

/** Which entries go when there are too many. */
export function surplus(entries: Entry[]): string[] {
  return entries.filter((entry) => !entry.starred).slice(KEEP).map((entry) => entry.key);
}
