import { parseJson } from '../wire.ts';
import { ask } from './ask.ts';
import { type Environment, notSet, type Source, sourceFailed } from './source.ts';

/** A job of GitHub Actions with `permissions: { id-token: write }`; a fresh token at each use. */
export function ofGithub(env: Environment, audience: string): Source {
  const name = 'GitHub job token';
  const variable = 'ACTIONS_ID_TOKEN_REQUEST_URL';
  return {
    name,
    kind: 'jwt',
    absent: () => (notSet(env[variable]) === undefined ? undefined : `${variable} not set`),
    read: async () => {
      const stated = env[variable] ?? '';
      if (!URL.canParse(stated)) throw sourceFailed(name, `${variable} is no URL`);
      const url = new URL(stated);
      url.searchParams.set('audience', audience);
      const bearer = env['ACTIONS_ID_TOKEN_REQUEST_TOKEN'] ?? '';
      const headers = { authorization: `Bearer ${bearer}`, accept: 'application/json' };
      const { text } = await ask(url, { source: name, headers });
      const token: unknown = Reflect.get(Object(parseJson(text)), 'value');
      if (typeof token !== 'string') throw sourceFailed(name, 'the answer holds no token');
      return token;
    },
  };
}

/** A GitLab job with `id_tokens: { MAYFLY_ID_TOKEN: { aud: ... } }`: one token for the whole job. */
export function ofGitlab(env: Environment): Source {
  const variable = 'MAYFLY_ID_TOKEN';
  return {
    name: 'GitLab job token',
    kind: 'jwt',
    absent: () => (notSet(env[variable]) === undefined ? undefined : `${variable} not set`),
    read: () => env[variable] ?? '',
  };
}
