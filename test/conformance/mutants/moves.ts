import { decodeJwt, decodeProtectedHeader } from 'jose';
import { objectOf } from '../http.ts';
import { type Claims, newKey, publicOf, signed } from '../suite.ts';
import type { Ask, Change, Mutant, Seen, Told, Tools } from './mutant.ts';

/** What a mutant is made of. All of them leave alone what they are not about. */
export type When = (seen: Seen, told: Told) => boolean;

export const always: When = () => true;
export const onPath =
  (path: string): When =>
  (seen) =>
    seen.path.split('?')[0] === path;
export const onToken = onPath('/token');
export const onSuccess: When = (_, { status }) => status === 200;
export const onError: When = (_, { status }) => status >= 400;
export const onMetadata: When = ({ path }) => path.startsWith('/.well-known/');

export function fieldsOf({ body }: Seen): URLSearchParams {
  return new URLSearchParams(body);
}

/** Changes the form on its way in. */
export function editForm(
  edit: (fields: URLSearchParams, seen: Seen, tools: Tools) => unknown,
  path = '/token',
): Ask {
  return async (seen, tools) => {
    if (!onPath(path)(seen, { status: 0, headers: {}, body: '' })) return seen;
    const fields = fieldsOf(seen);
    await edit(fields, seen, tools);
    return { ...seen, body: String(fields) };
  };
}

/** Takes parameters away on their way in, so that nobody looks at them. */
export function dropFields(...names: string[]): Ask {
  return editForm((fields) => {
    for (const name of names) fields.delete(name);
  });
}

/** Takes the second of two parameters away. */
export function dropSecond(fields: URLSearchParams): void {
  for (const name of new Set(fields.keys())) {
    const [first = ''] = fields.getAll(name);
    fields.set(name, first);
  }
}

/** Puts a good detail where the one that came is to be refused. */
export function goodDetail(name = 'plain'): Ask {
  return editForm(async (fields, _, { suite }) => {
    const good = await suite.form({ detail: name });
    fields.set('authorization_details', good.get('authorization_details') ?? '');
  });
}

/** Answers a refusal by a success, as a server that does not look would. */
export function succeed(when: When = onToken): Change {
  return async (told, seen, { suite }) => {
    if (told.status === 200 || !when(seen, told)) return told;
    const { status, headers, text } = await suite.exchange();
    return { status, headers: { 'content-type': String(headers['content-type']) }, body: text };
  };
}

export function setStatus(status: number, when: When): Change {
  return (told, seen) => (when(seen, told) ? { ...told, status } : told);
}

export function setHeader(name: string, value: string, when: When = always): Change {
  return (told, seen) => (when(seen, told) ? { ...told, headers: { ...told.headers, [name]: value } } : told);
}

export function dropHeader(name: string, when: When = always): Change {
  return (told, seen) => {
    const { [name]: _, ...headers } = told.headers;
    return when(seen, told) ? { ...told, headers } : told;
  };
}

/** Changes the JSON of an answer. */
export function editJson(when: When, edit: (body: Record<string, unknown>, seen: Seen) => unknown): Change {
  return (told, seen) => {
    if (!when(seen, told)) return told;
    const body = { ...objectOf(told.body) };
    edit(body, seen);
    return { ...told, body: JSON.stringify(body) };
  };
}

export function dropMember(name: string, when: When): Change {
  return editJson(when, (body) => Reflect.deleteProperty(body, name));
}

export function setError(error: string, when: When): Change {
  return editJson(
    (seen, told) => when(seen, told) && told.status >= 400,
    (body) => Object.assign(body, { error }),
  );
}

export function refusal(error: string, status = 400): Told {
  const headers = { 'content-type': 'application/json', 'cache-control': 'no-store', pragma: 'no-cache' };
  return { status, headers, body: JSON.stringify({ error }) };
}

/** Refuses what is to be taken. */
export function refuseWhen(
  when: (seen: Seen, fields: URLSearchParams) => boolean,
  error = 'invalid_request',
): Ask {
  return (seen) => (when(seen, fieldsOf(seen)) ? refusal(error) : seen);
}

/** Claims of a token in the form, if it is a JWT. */
export function claimsIn(fields: URLSearchParams, name: string): Claims {
  try {
    return decodeJwt(fields.get(name) ?? '');
  } catch {
    return {};
  }
}

/**
 * Signs each access token anew with other claims or another header, by a key that it adds to the JWKS: a server that
 * makes such tokens. What it made is changed back on its way in, so that the server still knows its own.
 */
export function resign(
  edit: (claims: Record<string, unknown>, header: Record<string, unknown>, seen: Seen) => unknown,
  options: { publish?: boolean } = {},
): Pick<Mutant, 'ask' | 'answer'> {
  const key = newKey('mutant');
  return {
    ask: (seen, { memory }) => {
      let { body } = seen;
      for (const [made, original] of memory)
        body = body.replaceAll(encodeURIComponent(made), encodeURIComponent(original));
      return { ...seen, body };
    },
    answer: (told, seen, { memory }) => {
      if (seen.path === '/jwks' && options.publish !== false)
        return editJson(always, (body) =>
          Object.assign(body, { keys: [...[body['keys'] ?? []].flat(), publicOf(key)] }),
        )(told, seen, {} as Tools);
      const original = objectOf(told.body)['access_token'];
      if (typeof original !== 'string' || !onToken(seen, told)) return told;
      let [claims, header]: [Record<string, unknown>, Record<string, unknown>] = [{}, {}];
      try {
        [claims, header] = [
          { ...decodeJwt(original) },
          { ...decodeProtectedHeader(original), alg: 'ES256', kid: 'mutant' },
        ];
      } catch {
        return told;
      }
      edit(claims, header, seen);
      const made = signed(claims, header, key);
      memory.set(made, original);
      return { ...told, body: JSON.stringify({ ...objectOf(told.body), access_token: made }) };
    },
  };
}
