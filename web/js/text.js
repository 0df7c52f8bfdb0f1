// What blocks and inline text of Markdown have in common.

export const DEEP = 12; // nesting beyond this is shown as it was written

export const blank = (text) => text.trim() === '';

/** Where a run of one character ends. */
export function runEnd(text, at) {
  let end = at + 1;
  while (text[end] === text[at]) end += 1;
  return end;
}
