/** A duration as people write it: `"7d"`, `"90s"`, `"500ms"`, `"1h30m"`. */
export type Duration = string;

const MS_PER = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const;
const MAX_MS = 1_000 * 366 * MS_PER.d;
const PART = /(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\s*/y;

/** The duration in whole milliseconds, rounded up, so that nothing ever ends early. Throws for anything else. */
export function parseDuration(value: Duration): number {
  const text = typeof value === "string" ? value.trim() : "";
  let total = 0;
  PART.lastIndex = 0;
  let read = 0;
  while (read < text.length) {
    const part = PART.exec(text);
    if (!part) break;
    total += Number(part[1]) * MS_PER[part[2] as keyof typeof MS_PER];
    read = PART.lastIndex;
  }
  if (text === "" || read < text.length) {
    throw new TypeError(`${JSON.stringify(value)} is no duration: write "7d", "90s", "500ms" or "1h30m"`);
  }
  if (total > MAX_MS) throw new RangeError(`${JSON.stringify(value)} is over 1,000 years`);
  // Binary fractions: 1.1 s is not a trifle over 1,100 ms.
  return Math.ceil(Number(total.toPrecision(15)));
}
