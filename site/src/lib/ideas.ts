/** Recipes to start from, for a first visit and for a blank mind; seeds chosen by eye, with the model that ships. */
import { choose } from './choices';
import { type Recipe, newRecipe } from './recipe';
import type { Vocabulary } from './vocabulary';

const IDEAS: [seed: number, ...tags: string[]][] = [
  [6, 'pink hair', 'blue eyes', 'smile'],
  [6, 'silver hair', 'purple eyes', 'long hair'],
  [7, 'black hair', 'red eyes', 'long hair'],
  [11, 'blonde hair', 'green eyes', 'smile'],
  [12, 'blue hair', 'yellow eyes', 'short hair'],
  [10, 'brown hair', 'brown eyes', 'glasses'],
  [8, 'red hair', 'green eyes', 'open mouth'],
  [5, 'purple hair', 'purple eyes', 'long hair'],
  [12, 'green hair', 'yellow eyes', 'short hair'],
  [5, 'silver hair', 'red eyes', 'short hair'],
  [3, 'orange hair', 'blue eyes', 'open mouth'],
  [2, 'black hair', 'blue eyes', 'blush'],
];

/** The ideas that this model can draw, leaving out traits that it has not learnt. */
export function ideas(vocabulary: Vocabulary, model: string): Recipe[] {
  return IDEAS.map(([seed, ...tags]) => {
    const start = newRecipe({ seed, model });
    return tags.reduce((recipe, tag) => choose(recipe, vocabulary, tag, 'yes'), start);
  });
}
