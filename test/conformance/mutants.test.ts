import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { CaseFailed } from './case.ts';
import { cases } from './cases.ts';
import type { Mutant } from './mutants/mutant.ts';
import { startProxy } from './mutants/proxy.ts';
import { mutants } from './mutants.ts';
import { type Ours, startOurs } from './ours.ts';
import { runCases } from './run.ts';
import { createSuite } from './suite.ts';

let ours: Ours;

beforeAll(async () => {
  ours = await startOurs();
}, 60_000);

afterAll(() => ours.stop());

test('each case has a mutant, and each mutant a case', () => {
  const broken = mutants.map(({ breaks }) => breaks);
  const ids = cases.map(({ id }) => id);
  expect(ids.filter((id) => !broken.includes(id))).toEqual([]);
  expect(broken.filter((id) => !ids.includes(id))).toEqual([]);
  expect(new Set(ids).size).toBe(ids.length);
});

test('through the proxy alone no case fails', async () => {
  const proxy = await startProxy(ours.profile, { breaks: '', says: 'breaks nothing' }, ours.serverKeyFile);
  try {
    const results = await runCases(cases, ours.profile, proxy);
    expect(results.filter(({ outcome }) => outcome === 'FAILED')).toEqual([]);
    expect(proxy.faults).toEqual([]);
  } finally {
    await proxy.stop();
  }
}, 60_000);

/** Undefined when the case says so as it should; else what it did. */
async function survives(mutant: Mutant): Promise<string | undefined> {
  const found = cases.find(({ id }) => id === mutant.breaks);
  if (found === undefined) return 'no such case';
  const proxy = await startProxy(ours.profile, mutant, ours.serverKeyFile);
  const suite = createSuite(ours.profile, proxy);
  try {
    await found.run(suite);
    return 'the case passes';
  } catch (error) {
    if (!(error instanceof CaseFailed)) return `the case could not be run: ${String(error)}`;
    return proxy.faults.length === 0 ? undefined : `the proxy failed: ${String(proxy.faults[0])}`;
  } finally {
    suite.close();
    await proxy.stop();
  }
}

test('a mutant that breaks nothing is found out', async () => {
  for (const breaks of ['A1', 'D2', 'H2'])
    expect(await survives({ breaks, says: 'breaks nothing' })).toBe('the case passes');
  const crash = () => {
    throw new RangeError('of the proxy');
  };
  expect(await survives({ breaks: 'A1', says: 'crashes', ask: crash })).toMatch(/could not be run/);
});

test('against each mutant its case fails', async () => {
  const survivors: string[] = [];
  const waiting = [...mutants];
  const work = async () => {
    for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
      const outcome = await survives(mutant);
      if (outcome !== undefined) survivors.push(`${mutant.breaks} ${mutant.says}: ${outcome}`);
    }
  };
  await Promise.all(Array.from({ length: 8 }, work));
  expect(survivors).toEqual([]);
}, 120_000);
