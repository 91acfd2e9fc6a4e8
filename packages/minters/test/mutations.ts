/** For tests only: every single change of a plain JSON value, with the place where it was made. */
export interface Mutation {
  /** `a.b.0: what was done`. */
  readonly name: string;
  readonly value: unknown;
}

export function mutationsOf(value: unknown, path: readonly string[] = []): Mutation[] {
  const place = path.join('.');
  const here = replacementsOf(value)
    .filter(([, changed]) => JSON.stringify(changed) !== JSON.stringify(value))
    .map(([what, changed]) => ({ name: `${place}: ${what}`, value: changed }));
  if (Array.isArray(value)) {
    const inner = value.flatMap((one: unknown, index) =>
      mutationsOf(one, [...path, String(index)]).map(({ name, value: changed }) => ({
        name,
        value: value.with(index, changed),
      })),
    );
    return [...here, ...inner];
  }
  if (typeof value !== 'object' || value === null) return here;
  const inner = Object.entries(value).flatMap(([key, one]) =>
    mutationsOf(one, [...path, key]).map(({ name, value: changed }) => ({
      name,
      value: { ...value, [key]: changed },
    })),
  );
  return [...here, ...inner];
}

function replacementsOf(value: unknown): [string, unknown][] {
  if (typeof value === 'string')
    return [
      ['longer', `${value}x`],
      ['shorter', value.slice(0, -1)],
      ['star', '*'],
      ['star after', `${value}*`],
      ['empty', ''],
      ['null', null],
      ['in a list', [value]],
      ['other case', value === value.toLowerCase() ? value.toUpperCase() : value.toLowerCase()],
    ];
  if (typeof value === 'number')
    return [
      ['one more', value + 1],
      ['one less', value - 1],
      ['much more', value + 100_000],
      ['negative', -value],
      ['zero', 0],
      ['a fraction', value + 0.5],
      ['null', null],
      ['text', String(value)],
    ];
  if (Array.isArray(value))
    return [
      ['empty', []],
      ['one more', [...value, '*']],
      ['first twice', [...value.slice(0, 1), ...value]],
      ...value.map((_, index): [string, unknown] => [`without ${index}`, value.toSpliced(index, 1)]),
      ['text', String(value[0])],
      ['null', null],
    ];
  if (typeof value !== 'object' || value === null) return [['text', 'x']];
  return [
    ['one key more', { ...value, Extra: 'x' }],
    ['empty', {}],
    ['null', null],
    ...Object.keys(value).map((key): [string, unknown] => [
      `without ${key}`,
      Object.fromEntries(Object.entries(value).filter(([one]) => one !== key)),
    ]),
  ];
}
