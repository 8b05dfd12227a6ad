/** Single keys for what is done most; never while typing, and switched off by one setting. */
import { browse, download, toggleStar } from './actions';
import { settings } from './settings.svelte';
import { studio } from './studio.svelte';

/** Where a key already means something else: text, sliders, radios, buttons (Space), dialogs. */
function taken(target: EventTarget | null, key: string): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target.closest('dialog, textarea, select')) return true;
  if (target instanceof HTMLInputElement) {
    if (!['radio', 'range', 'checkbox', 'button'].includes(target.type)) return true;
    return key === ' ' || key.startsWith('Arrow');
  }
  if (key.startsWith('Arrow')) return target.closest('[role=tablist]') !== null;
  return key === ' ' && target.closest('button, a, summary, [role=tab]') !== null;
}

/** The group that holds the focus, else the first: what L locks. */
function focusedGroup(): void {
  const id = document.activeElement?.closest<HTMLElement>('[data-group]')?.dataset.group;
  const groups = studio.vocabulary?.groups.filter((group) => group.tags.some((tag) => tag.learnt)) ?? [];
  const group = groups.find((other) => other.id === id) ?? groups[0];
  if (group) studio.toggleLock(group);
}

export function onKey(event: KeyboardEvent, help: () => void): void {
  if (!settings.shortcuts || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (taken(event.target, event.key) || !studio.vocabulary) return;
  const actions: Record<string, () => void> = {
    ' ': () => studio.newCharacter(),
    ArrowLeft: () => browse(-1),
    ArrowRight: () => browse(1),
    z: () => (event.shiftKey ? studio.redo() : studio.undo()),
    l: focusedGroup,
    f: toggleStar,
    s: () => void download(),
    '?': help,
  };
  const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action) return;
  event.preventDefault();
  action();
}
