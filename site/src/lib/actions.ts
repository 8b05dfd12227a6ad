/** What the buttons and the keys both do. */
import { fetchPicture, readPng } from './api';
import { t } from './settings.svelte';
import { strip } from './strip.svelte';
import { studio } from './studio.svelte';
import { toast } from './toast.svelte';

/** A file name that says what is in it: `kaogen-pink_hair-blue_eyes-42.png`. */
export function fileName(): string {
  const words = studio.recipe.tags.slice(0, 5).map((tag) => tag.replaceAll(/[^a-z0-9]+/g, '_'));
  return ['kaogen', ...words.filter(Boolean), studio.recipe.seed].join('-') + '.png';
}

export async function download(): Promise<void> {
  const link = document.createElement('a');
  // By way of a blob: a link to the server's address would take the server's plainer file name.
  link.download = fileName();
  try {
    link.href = URL.createObjectURL(await fetchPicture(studio.recipe, new AbortController().signal, 'png'));
  } catch {
    toast.say(t('offline'));
    return;
  }
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
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
