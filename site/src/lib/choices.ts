/** Picks as a person changes them: one trait, a whole text, or the locks. Pure functions on recipes. */
import type { Recipe } from './recipe';
import type { Choice, Group, Vocabulary } from './vocabulary';

export function choiceOf(recipe: Recipe, name: string): Choice {
  if (recipe.tags.includes(name)) return 'yes';
  return recipe.without.includes(name) ? 'no' : 'any';
}

/** Any -> Yes -> No -> Any. */
export const nextChoice: Record<Choice, Choice> = { any: 'yes', yes: 'no', no: 'any' };

/** Sets one trait, and lets go of what contradicts it. */
export function choose(recipe: Recipe, vocabulary: Vocabulary, name: string, choice: Choice): Recipe {
  const tag = vocabulary.get(name);
  if (!tag || (!tag.learnt && choice !== 'any')) return recipe;
  const tags = new Set(recipe.tags);
  const without = new Set(recipe.without);
  tags.delete(tag.name);
  without.delete(tag.name);
  if (choice === 'yes') {
    tags.add(tag.name);
    for (const other of tag.excludes) tags.delete(other);
    for (const implied of tag.implies) without.delete(implied);
  }
  if (choice === 'no') {
    without.add(tag.name);
    for (const other of vocabulary.tags) if (other.implies.includes(tag.name)) tags.delete(other.name);
  }
  return { ...recipe, tags: vocabulary.sort(tags), without: vocabulary.sort(without) };
}

/** An exclusive group's one pick; null means Any. */
export function chooseOne(recipe: Recipe, vocabulary: Vocabulary, group: Group, name: string | null): Recipe {
  const cleared = clear(recipe, [group]);
  return name === null ? cleared : choose(cleared, vocabulary, name, 'yes');
}

/** Without any picks in these groups. */
export function clear(recipe: Recipe, groups: Group[]): Recipe {
  const names = new Set(groups.flatMap((group) => group.tags.map((tag) => tag.name)));
  const rest = (tags: string[]): string[] => tags.filter((tag) => !names.has(tag));
  return { ...recipe, tags: rest(recipe.tags), without: rest(recipe.without) };
}

/**
 * Picks that hold a group as the picture shows it now: what is seen is asked for; what is not seen is refused, except
 * in an exclusive group, where one colour already rules out the others.
 */
export function hold(recipe: Recipe, vocabulary: Vocabulary, group: Group, shown: string[]): Recipe {
  let held = clear(recipe, [group]);
  const learnt = group.tags.filter((tag) => tag.learnt);
  const anySeen = learnt.some((tag) => shown.includes(tag.name));
  for (const tag of learnt) {
    if (shown.includes(tag.name)) held = choose(held, vocabulary, tag.name, 'yes');
    else if (!group.exclusive || !anySeen) held = choose(held, vocabulary, tag.name, 'no');
  }
  return held;
}

/** The picks as one line of tags: `pink hair, cat ears, -glasses`. */
export function toWords(recipe: Recipe): string {
  return [...recipe.tags, ...recipe.without.map((tag) => `-${tag}`)].join(', ');
}

export interface Reading {
  recipe: Recipe;
  /** Words that no trait answers to. */
  unknown: string[];
  /** Traits this model has not learnt. */
  unlearnt: string[];
}

/** A line of Danbooru tags, in any of the four languages -> picks (replacing those of `recipe`). */
export function readWords(line: string, recipe: Recipe, vocabulary: Vocabulary): Reading {
  let read: Recipe = { ...recipe, tags: [], without: [] };
  const unknown: string[] = [];
  const unlearnt: string[] = [];
  for (const part of line.split(/[,、，\n]+/)) {
    const word = part.trim();
    const seed = /^seed\s*[:=]\s*(\d{1,10})$/i.exec(word);
    if (seed) {
      read = { ...read, seed: Math.min(Number(seed[1]), 2 ** 32 - 1) };
      continue;
    }
    const no = /^[-−ー!]\s*/.exec(word);
    const bare = no ? word.slice(no[0].length) : word;
    if (!bare || vocabulary.isNoise(bare)) continue;
    const tag = vocabulary.get(bare);
    if (!tag) unknown.push(bare);
    else if (!tag.learnt) unlearnt.push(tag.name);
    else read = choose(read, vocabulary, tag.name, no ? 'no' : 'yes');
  }
  return { recipe: read, unknown, unlearnt };
}
