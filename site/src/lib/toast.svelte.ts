/** One short line that comes and goes, and the polite live region that reads it. */
class Toast {
  text = $state('');
  private timer = 0;

  say(text: string): void {
    clearTimeout(this.timer);
    // Emptied first, so that the same words are read out again.
    this.text = '';
    this.timer = window.setTimeout(() => {
      this.text = text;
      this.timer = window.setTimeout(() => (this.text = ''), 4000);
    }, 30);
  }
}

export const toast = new Toast();
