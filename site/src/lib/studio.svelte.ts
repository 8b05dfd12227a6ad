/** The page's one state: the recipe, its picture, and the ways to change them. */
import { ApiError, type Facts, fetchFacts, fetchPicture, fetchTags } from './api';
import { hold, clear as clearGroups } from './choices';
import { ideas } from './ideas';
import { type Recipe, fromQuery, keyOf, newRecipe, randomSeed, toQuery } from './recipe';
import { strip } from './strip.svelte';
import { type Group, Vocabulary } from './vocabulary';

export interface Picture {
  /** A blob: address, decoded before it is shown. */
  url: string;
  recipe: Recipe;
  facts: Facts;
}

export interface Failure {
  message: string;
  nearest: string[];
}

/** How far "new look" moves from the face when the person has not said. */
const LOOK = 0.45;
/** A drawing quicker than this is not announced as pending. */
const PATIENCE_MS = 150;
/** A slider being dragged, or a held arrow key, is drawn when it rests this long. */
const REST_MS = 90;

class Studio {
  vocabulary = $state.raw<Vocabulary | null>(null);
  /** The model that this server draws with. */
  model = $state('');
  recipe = $state.raw<Recipe>(newRecipe({ seed: 0 }));
  picture = $state.raw<Picture | null>(null);
  pending = $state(false);
  failure = $state.raw<Failure | null>(null);
  /** The model named by the link, when it is not this server's. */
  otherModel = $state('');
  /** Words of the link that the model's vocabulary does not hold. */
  strangers = $state.raw<string[]>([]);
  locked = $state.raw<ReadonlySet<string>>(new Set());

  private past = $state.raw<Recipe[]>([]);
  private future = $state.raw<Recipe[]>([]);
  private held = new Set<string>();
  private mergeKey = '';
  private mergeAt = 0;
  private resting = 0;
  private running: AbortController | null = null;

  canUndo = $derived(this.past.length > 0);
  canRedo = $derived(this.future.length > 0);

  /** Fetches the vocabulary and draws what the address says, or an idea when it says nothing. */
  async start(): Promise<void> {
    this.failure = null;
    try {
      const { model, groups } = await fetchTags();
      this.vocabulary = new Vocabulary(groups);
      this.model = model;
      this.readAddress();
    } catch (error) {
      this.fail(error);
    }
  }

  readAddress(): void {
    const { vocabulary } = this;
    if (!vocabulary) return;
    if (location.search.length > 1) return this.adopt(fromQuery(location.search), vocabulary);
    const first = ideas(vocabulary, this.model);
    this.show(first[Math.floor(Math.random() * first.length)] ?? newRecipe());
  }

  /** A recipe from outside (link, PNG): what this model cannot draw is set aside and told. */
  adopt(found: Recipe, vocabulary: Vocabulary): void {
    const known = (tags: string[], needLearnt: boolean): string[] =>
      tags.flatMap((word) => {
        const tag = vocabulary.get(word);
        return tag && (tag.learnt || !needLearnt) ? [tag.name] : [];
      });
    const tags = known(found.tags, true);
    this.strangers = [
      ...found.tags.filter((word) => !known([word], true).length),
      ...found.without.filter((word) => !vocabulary.get(word)),
    ];
    this.otherModel = found.model && found.model !== this.model ? found.model : '';
    if (this.picture) this.past = [...this.past, this.recipe];
    this.future = [];
    const without = known(found.without, false).filter((tag) => !tags.includes(tag));
    this.show({
      ...found,
      tags: vocabulary.sort(tags),
      without: vocabulary.sort(without),
      model: this.model,
    });
  }

  /** A step that can be undone. Steps with the same `merge` word in quick succession count as one. */
  change(next: Recipe, merge = ''): void {
    const now = Date.now();
    const again = merge !== '' && merge === this.mergeKey && now - this.mergeAt < 1000;
    this.mergeKey = merge;
    this.mergeAt = now;
    if (toQuery(next) === toQuery(this.recipe)) return;
    if (!again) this.past = [...this.past.slice(-199), this.recipe];
    this.future = [];
    this.otherModel = '';
    this.strangers = [];
    this.show(next, merge ? REST_MS : 0);
  }

  undo(): void {
    const before = this.past.at(-1);
    if (!before) return;
    this.past = this.past.slice(0, -1);
    this.future = [this.recipe, ...this.future];
    this.show(before);
  }

  redo(): void {
    const [after, ...rest] = this.future;
    if (!after) return;
    this.future = rest;
    this.past = [...this.past, this.recipe];
    this.show(after);
  }

  /** Another person with the same picks; locked groups also keep what the picture shows. */
  newCharacter(): void {
    let next: Recipe = { ...this.recipe, seed: randomSeed(), variation: 0, variationSeed: 0 };
    const shown = this.picture?.facts.tags;
    for (const group of this.vocabulary?.groups ?? []) {
      if (!this.locked.has(group.id) || this.held.has(group.id) || !shown || !this.vocabulary) continue;
      next = hold(next, this.vocabulary, group, shown);
      this.held.add(group.id);
    }
    this.change(next);
  }

  /** The same traits and seed, its latent turned toward another. */
  newLook(): void {
    const variation = this.recipe.variation > 0 ? this.recipe.variation : LOOK;
    this.change({ ...this.recipe, variationSeed: randomSeed(), variation });
  }

  toggleLock(group: Group): void {
    const locked = new Set(this.locked);
    if (locked.delete(group.id)) {
      // What the lock had pinned is let go again; the person's own picks were replaced by it.
      if (this.held.delete(group.id)) this.change(clearGroups(this.recipe, [group]));
    } else locked.add(group.id);
    this.locked = locked;
  }

  /** No picks, except in locked groups. */
  clear(): void {
    const free = this.vocabulary?.groups.filter((group) => !this.locked.has(group.id)) ?? [];
    this.change(clearGroups(this.recipe, free));
  }

  retry(): void {
    if (this.vocabulary) this.show(this.recipe);
    else void this.start();
  }

  /** Makes this the current recipe: address, picture, strip follow. */
  private show(recipe: Recipe, afterMs = 0): void {
    this.recipe = recipe;
    history.replaceState(null, '', `?${toQuery(recipe)}${location.hash}`);
    clearTimeout(this.resting);
    if (afterMs) this.resting = window.setTimeout(() => void this.draw(recipe), afterMs);
    else void this.draw(recipe);
  }

  private async draw(recipe: Recipe): Promise<void> {
    this.running?.abort();
    const run = new AbortController();
    this.running = run;
    const slow = setTimeout(() => (this.pending = true), PATIENCE_MS);
    try {
      const [blob, facts] = await Promise.all([fetchPicture(recipe, run.signal), fetchFacts(recipe, run.signal)]);
      const url = URL.createObjectURL(blob);
      await decoded(url);
      if (run.signal.aborted) return URL.revokeObjectURL(url);
      const before = this.picture;
      this.picture = { url, recipe, facts };
      this.failure = null;
      if (before) setTimeout(() => URL.revokeObjectURL(before.url), 1000);
      strip.remember(recipe, facts.alt);
    } catch (error) {
      if (!run.signal.aborted) this.fail(error);
    } finally {
      clearTimeout(slow);
      if (this.running === run) this.pending = false;
    }
  }

  private fail(error: unknown): void {
    const known = error instanceof ApiError ? error : new ApiError(String(error), 0);
    this.failure = { message: known.message, nearest: known.nearest };
  }

  /** Whether this recipe is the one on show. */
  isCurrent(recipe: Recipe): boolean {
    return keyOf(recipe) === keyOf(this.recipe);
  }
}

/** Resolves once the browser can paint the picture without a wait. */
async function decoded(url: string): Promise<void> {
  const image = new Image();
  image.src = url;
  await image.decode();
}

export const studio = new Studio();
