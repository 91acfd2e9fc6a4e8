import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Attempt, givesNothing, grantTypesWithout, type Path, paths } from './paths.ts';
import { type Scene, startScene } from './scene.ts';
import { states } from './states.ts';

/**
 * Every path that gives or renews access, under every state that takes it away, on a second replica whose caches are
 * warm: refused within a second of the commit. The paths are those of the running server; one that is not registered fails.
 */
let scene: Scene;
/** From the commit until the refusal. */
const secondsMax = 1;

beforeAll(async () => {
  scene = await startScene();
}, 60_000);

afterAll(() => scene.stop());

test('every route and grant type of the running server is in one of the registries', async () => {
  const { body: document } = await scene.world.api('GET', '/openapi.json');
  const routes = Object.entries<object>(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  const registered = new Set([...paths.map(({ route }) => route), ...Object.keys(givesNothing)]);
  expect(routes.filter((route) => !registered.has(route))).toEqual([]);
  expect([...registered].filter((route) => !routes.includes(route))).toEqual([]);
  const { body: metadata } = await scene.world.api('GET', '/.well-known/oauth-authorization-server');
  const grantTypes = new Set([...paths.map(({ grantType }) => grantType), ...Object.keys(grantTypesWithout)]);
  expect(metadata.grant_types_supported.filter((one: string) => !grantTypes.has(one))).toEqual([]);
  const endpoints = Object.entries<unknown>(metadata)
    .filter(([name]) => name.endsWith('_endpoint'))
    .map(([, address]) => String(address).slice(scene.world.url.length));
  const known = [...registered].map((route) => route.replace(/^[A-Z]+ /, ''));
  expect(endpoints.filter((endpoint) => !known.includes(endpoint))).toEqual([]);
});

describe.each(states)('$name', ({ reaches, enter, leave }) => {
  const answers = new Map<string, { granted: boolean; said: string; seconds: number }[]>();
  const warm = new Map<string, boolean[]>();

  beforeAll(async () => {
    const attempts = new Map<Path, Attempt>();
    for (const path of paths) attempts.set(path, await path.prepare(scene));
    for (const [path, attempt] of attempts) {
      const granted = [];
      for (const url of scene.urls) granted.push((await attempt.ask(url)).granted);
      warm.set(path.id, granted);
    }
    await enter(
      scene,
      [...attempts.values()].map(({ task }) => task),
    );
    const committed = performance.now();
    await Promise.all(
      [...attempts].map(async ([path, attempt]) => {
        const said = [];
        for (const url of scene.urls) {
          const answer = await attempt.ask(url);
          said.push({ ...answer, seconds: (performance.now() - committed) / 1000 });
        }
        answers.set(path.id, said);
      }),
    );
  }, 60_000);

  afterAll(() => leave(scene));

  test.each(paths)('$id', ({ id, tags }) => {
    expect(warm.get(id)).toEqual([true, true]);
    const said = answers.get(id) ?? [];
    const outcome = said.map(({ granted, said: words }) => (granted ? `granted ${words}` : words));
    if (!reaches(tags))
      expect(said.map(({ granted }) => [granted, outcome])).toEqual([
        [true, outcome],
        [true, outcome],
      ]);
    else {
      expect(said.map(({ granted }) => [granted, outcome])).toEqual([
        [false, outcome],
        [false, outcome],
      ]);
      // Refused, not broken.
      for (const words of outcome) expect(words).not.toMatch(/^5(?!03 (frozen|recovery_required))/);
      expect(Math.max(...said.map(({ seconds }) => seconds))).toBeLessThan(secondsMax);
    }
  });
});
