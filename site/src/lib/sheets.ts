/** Several recipes from one: neighbours of a face, and its moods. */
import { choose, hold } from './choices';
import { MAX_SEED, type Recipe } from './recipe';
import type { Vocabulary } from './vocabulary';

/** The recipe in the middle of eight neighbours: the same traits, the latent turned toward eight other seeds. */
export function around(centre: Recipe, distance: number, page = 0): Recipe[] {
  const neighbours = Array.from({ length: 8 }, (_, at) => ({
    ...centre,
    // Counted from the seed, so that a face's neighbours are always the same ones.
    variationSeed: (centre.seed + centre.variationSeed + page * 8 + at + 1) % (MAX_SEED + 1),
    variation: distance,
  }));
  return [...neighbours.slice(0, 4), centre, ...neighbours.slice(4)];
}

/** Moods as sets of tags of the face's expression; the first is a calm face. */
const MOODS: string[][] = [
  [],
  ['smile'],
  ['open mouth'],
  [':d', 'smile', 'open mouth'],
  ['blush'],
  ['blush', 'smile'],
  ['blush', 'open mouth'],
  ['tears'],
  ['tears', 'open mouth'],
  ['fang', 'open mouth'],
  ['tongue', 'open mouth'],
  ['fang', 'smile'],
];

export interface Mood {
  recipe: Recipe;
  /** The tags that make the mood; none for the calm face. */
  tags: string[];
}

/** The same seed and traits with other moods, as far as the model has learnt them; at most nine. */
export function moods(recipe: Recipe, vocabulary: Vocabulary, shown: string[]): Mood[] {
  const smile = vocabulary.get('smile');
  const group = smile && vocabulary.groupOf(smile.name);
  if (!group) return [];
  const learnt = (name: string): boolean => vocabulary.get(name)?.learnt === true;
  const others = shown.filter((name) => learnt(name) && !group.tags.some((tag) => tag.name === name));
  const base = others.reduce((next, name) => choose(next, vocabulary, name, 'yes'), recipe);
  const drawn = MOODS.filter((tags) => tags.every(learnt)).slice(0, 9);
  return drawn.map((tags) => ({ recipe: hold(base, vocabulary, group, tags), tags }));
}
