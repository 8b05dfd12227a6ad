/** What the buttons and the keys both do. */
import { addressOf, readPng } from './api';
import { t } from './settings.svelte';
import { strip } from './strip.svelte';
import { studio } from './studio.svelte';
import { toast } from './toast.svelte';

/** A file name that says what is in it: `kaogen-pink_hair-blue_eyes-42.png`. */
export function fileName(): string {
  const words = studio.recipe.tags.slice(0, 5).map((tag) => tag.replaceAll(/[^a-z0-9]+/g, '_'));
  return ['kaogen', ...words.filter(Boolean), studio.recipe.seed].join('-') + '.png';
}

export function download(): void {
  const link = document.createElement('a');
  link.href = addressOf(studio.recipe, 'png');
  link.download = fileName();
  link.click();
}

export async function copyLink(): Promise<void> {
  try {
    await navigator.clipboard.writeText(location.href);
    toast.say(t('copied'));
  } catch {
    toast.say(t('copyFailed'));
  }
}

export function toggleStar(): void {
  const starred = strip.toggleStar(studio.recipe, studio.picture?.facts.alt ?? '');
  toast.say(t(starred ? 'starred' : 'unstarred'));
}

/** Steps through recent characters: positive is older. */
export function browse(steps: number): void {
  const found = strip.neighbour(studio.recipe, steps);
  if (found) studio.change(found, 'browse');
}

/** Takes up the recipe inside a dropped or chosen PNG. */
export async function openPng(file: File | undefined): Promise<void> {
  if (!file || !studio.vocabulary) return;
  try {
    studio.adopt(await readPng(file), studio.vocabulary);
    toast.say(t('restored'));
  } catch {
    toast.say(t('noRecipe'));
  }
}
