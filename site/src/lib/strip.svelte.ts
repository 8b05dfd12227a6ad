/** The filmstrip's state: what was drawn, what was starred. */
import { type Entry, entryOf, forget, load, save, surplus } from './history';
import { type Recipe, keyOf } from './recipe';

class Strip {
  entries = $state.raw<Entry[]>([]);
  private timer = 0;

  async start(): Promise<void> {
    const before = await load();
    const known = new Set(this.entries.map((entry) => entry.key));
    this.entries = [...this.entries, ...before.filter((entry) => !known.has(entry.key))];
  }

  /** Remembers a drawn character, unless it is passed over within the moment (a slider being dragged). */
  remember(recipe: Recipe, alt: string, afterMs = 500): void {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.add(recipe, alt), afterMs);
  }

  isStarred(recipe: Recipe): boolean {
    return this.find(recipe)?.starred === 1;
  }

  /** Stars or unstars; returns whether it is starred now. */
  toggleStar(recipe: Recipe, alt: string): boolean {
    const entry = this.find(recipe) ?? this.add(recipe, alt);
    const changed: Entry = { ...entry, starred: entry.starred ? 0 : 1 };
    this.entries = this.entries.map((other) => (other.key === entry.key ? changed : other));
    void save(changed);
    return changed.starred === 1;
  }

  /** The recipe `steps` further into the past (positive) or back toward now (negative). */
  neighbour(recipe: Recipe, steps: number): Recipe | null {
    const at = this.entries.findIndex((entry) => entry.key === keyOf(recipe));
    return this.entries[at + steps]?.recipe ?? null;
  }

  /** Forgets what is not starred. */
  clear(): void {
    const gone = this.entries.filter((entry) => !entry.starred).map((entry) => entry.key);
    this.entries = this.entries.filter((entry) => entry.starred);
    void forget(gone);
  }

  private find(recipe: Recipe): Entry | undefined {
    const key = keyOf(recipe);
    return this.entries.find((entry) => entry.key === key);
  }

  private add(recipe: Recipe, alt: string): Entry {
    const known = this.find(recipe);
    if (known) return known;
    const entry = entryOf(recipe, alt);
    this.entries = [entry, ...this.entries];
    void save(entry);
    const gone = surplus(this.entries);
    if (gone.length) {
      this.entries = this.entries.filter((other) => !gone.includes(other.key));
      void forget(gone);
    }
    return entry;
  }
}

export const strip = new Strip();
