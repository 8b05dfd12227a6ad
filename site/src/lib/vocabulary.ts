/** The model's traits as the server lists them, and the words people type for them. */
export type Lang = 'en' | 'ja' | 'zh' | 'ko';

export interface Tag {
  name: string;
  names: Record<string, string>;
  learnt: boolean;
  /** Share of pictures that show the trait when it is asked for, 0 .. 1; null when not measured. */
  obedience: number | null;
  /** Why it cannot be picked, in plain words; empty when it can. */
  why: string;
  /** Position in the model's vocabulary: the order of tags in a canonical URL. */
  index: number;
  /** Other spellings, Danbooru's among them. */
  aliases: string[];
  /** What a face with this trait shows as well: cat ears are animal ears. */
  implies: string[];
  /** What a face with this trait cannot show: a second hair colour. */
  excludes: string[];
}

export interface Group {
  id: string;
  name: string;
  names: Record<string, string>;
  /** At most one of its tags at a time. */
  exclusive: boolean;
  tags: Tag[];
}

export type Choice = 'any' | 'yes' | 'no';

/** What people write about pictures of one person, which says nothing about the face. */
const NOISE = new Set(['1girl', '1boy', 'solo', 'masterpiece', 'best quality', 'highres', 'anime', 'portrait', 'face']);

const fold = (word: string): string =>
  word.normalize('NFKC').toLowerCase().replaceAll(/[_\s]+/g, ' ').trim();

export class Vocabulary {
  readonly tags: Tag[];
  private readonly byWord = new Map<string, Tag>();
  private readonly groupByTag = new Map<string, Group>();
  private readonly order = new Map<string, number>();

  constructor(readonly groups: Group[]) {
    this.tags = groups.flatMap((group) => group.tags);
    for (const group of groups) for (const tag of group.tags) this.groupByTag.set(tag.name, group);
    for (const tag of this.tags) {
      this.order.set(tag.name, tag.index);
      for (const word of [...tag.aliases, ...Object.values(tag.names), tag.name])
        this.byWord.set(fold(word), tag);
    }
  }

  get(name: string): Tag | undefined {
    return this.byWord.get(fold(name));
  }

  groupOf(name: string): Group | undefined {
    return this.groupByTag.get(name);
  }

  isNoise(word: string): boolean {
    return NOISE.has(fold(word));
  }

  /** The vocabulary's order, so that the same picks always make the same URL. */
  sort(names: Iterable<string>): string[] {
    const place = (name: string): number => this.order.get(name) ?? Infinity;
    return [...new Set(names)].sort((a, b) => place(a) - place(b));
  }

  /** Names nearest to an unknown word, best first; none when nothing is near. */
  nearest(word: string, count = 3): string[] {
    const target = fold(word);
    const scored = new Map<string, number>();
    for (const [known, tag] of this.byWord) {
      let score = distance(target, known) / Math.max(target.length, known.length);
      // "pink" is clearly about "pink hair" and "pink eyes", however far the whole words are.
      if (target.length > 2 && known.split(' ').some((part) => part === target)) score = Math.min(score, 0.3);
      scored.set(tag.name, Math.min(score, scored.get(tag.name) ?? 1));
    }
    const near = [...scored].filter(([, score]) => score <= 0.5).sort((a, b) => a[1] - b[1]);
    return near.slice(0, count).map(([name]) => name);
  }
}

/** Edits (insert, delete, replace) between two words. */
export function distance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(row[j - 1]! + 1, previous[j]! + 1, swap));
    }
    previous = row;
  }
  return previous[b.length]!;
}
