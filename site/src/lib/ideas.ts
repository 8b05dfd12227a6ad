/** Recipes to start from, for a first visit and for a blank mind. */
import { choose } from './choices';
import { type Recipe, newRecipe } from './recipe';
import type { Vocabulary } from './vocabulary';

const IDEAS: [seed: number, ...tags: string[]][] = [
  [42, 'pink hair', 'blue eyes', 'smile'],
  [7, 'silver hair', 'purple eyes', 'long hair'],
  [19, 'black hair', 'red eyes', 'bangs'],
  [230, 'blonde hair', 'green eyes', 'hair ribbon'],
  [88, 'blue hair', 'yellow eyes', 'short hair'],
  [511, 'brown hair', 'brown eyes', 'glasses'],
  [64, 'red hair', 'green eyes', 'open mouth'],
  [1203, 'purple hair', 'purple eyes', 'hair flower'],
  [905, 'green hair', 'yellow eyes', 'hairband'],
  [333, 'white hair', 'red eyes', 'animal ears'],
  [77, 'orange hair', 'blue eyes', 'twin tails'],
  [2024, 'black hair', 'blue eyes', 'blush'],
];

/** The ideas that this model can draw, leaving out traits that it has not learnt. */
export function ideas(vocabulary: Vocabulary, model: string): Recipe[] {
  return IDEAS.map(([seed, ...tags]) => {
    const start = newRecipe({ seed, model });
    return tags.reduce((recipe, tag) => choose(recipe, vocabulary, tag, 'yes'), start);
  });
}
