// Numbers as people read them, for the screen and for plain lines.

export function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

export function megabits(bitsPerSecond: number): string {
  return (bitsPerSecond / 1e6).toFixed(1);
}

export function clock(seconds: number): string {
  const two = (value: number) => String(Math.floor(value)).padStart(2, "0");
  return `${two(seconds / 3600)}:${two((seconds / 60) % 60)}:${two(seconds % 60)}`;
}

export function milliseconds(value: number | undefined): string {
  return value === undefined ? "no answer" : `${value.toFixed(2)} ms`;
}
