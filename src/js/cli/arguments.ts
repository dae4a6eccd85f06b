// What the command's arguments say, and what is wrong with them.

/** As Node's `parseArgs` gives them. */
export type Values = Record<string, string | boolean | string[] | undefined>;

/** A command line that is to be written otherwise. */
export class Usage extends Error {}

export function numberOf(name: string, value: Values[string]): number | undefined {
  if (value === undefined) return undefined;
  if (!/^\d+$/.test(String(value))) throw new Usage(`--${name} ${String(value)}, expected a whole number`);
  return Number(value);
}
