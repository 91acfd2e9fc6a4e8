import { exchangeGrant, tokenType } from '../suite.ts';
import {
  dropHeader,
  dropSecond,
  editForm,
  editJson,
  fieldsOf,
  onError,
  onMetadata,
  onSuccess,
  onToken,
  refuseWhen,
  setError,
  setHeader,
  setStatus,
  type When,
} from './moves.ts';
import type { Mutant, Told } from './mutant.ts';

const is =
  (status: number): When =>
  (seen, told) =>
    onToken(seen, told) && told.status === status;
const forms = 'application/x-www-form-urlencoded';

export const transportMutants: readonly Mutant[] = [
  { breaks: 'A1', says: 'answers 200 to GET', answer: setStatus(200, ({ method }) => method === 'GET') },
  {
    breaks: 'A1',
    says: 'answers 400 to DELETE',
    answer: setStatus(400, ({ method }) => method === 'DELETE'),
  },
  { breaks: 'A1.b', says: 'leaves Allow out', answer: dropHeader('allow') },
  {
    breaks: 'A2',
    says: 'reads a form whatever its type',
    ask: (seen) => ({ ...seen, headers: { ...seen.headers, 'content-type': forms } }),
  },
  {
    breaks: 'A2',
    says: 'reads JSON',
    ask: (seen) =>
      seen.headers['content-type'] === 'application/json'
        ? { ...seen, headers: { ...seen.headers, 'content-type': forms } }
        : seen,
  },
  { breaks: 'A3', says: 'takes a body of any length', ask: editForm((fields) => fields.delete('filler')) },
  {
    breaks: 'A3',
    says: 'answers a long body in text',
    answer: (told) => (told.status === 413 ? { ...told, body: 'too large' } : told),
  },
  { breaks: 'A4', says: 'takes the first of two', ask: editForm(dropSecond) },
  {
    breaks: 'A4',
    says: 'takes a scope twice',
    ask: editForm((fields) => fields.has('scope') && dropSecond(fields)),
  },
  ...['resource', 'audience'].map((name) => ({
    breaks: 'A4.b',
    says: `refuses two of ${name}`,
    ask: refuseWhen((_, fields) => fields.getAll(name).length > 1),
  })),
  {
    breaks: 'A5',
    says: 'refuses an empty value',
    ask: refuseWhen((_, fields) => [...fields.values()].includes('')),
  },
  {
    breaks: 'A5.b',
    says: 'refuses what it does not know',
    ask: refuseWhen((_, fields) => fields.has('conformance_unknown')),
  },
  {
    breaks: 'A5.c',
    says: 'fills an empty subject_token_type in',
    ask: editForm(
      (fields) => fields.get('subject_token_type') === '' && fields.set('subject_token_type', tokenType.jwt),
    ),
  },
  {
    breaks: 'A6',
    says: 'reads the query',
    ask: (seen) => ({ ...seen, body: seen.body === '' ? (seen.path.split('?')[1] ?? '') : seen.body }),
  },
  { breaks: 'A6.b', says: 'refuses a query', ask: refuseWhen(({ path }) => path.includes('?')) },
  ...[onError, onSuccess].map((when) => ({
    breaks: 'A7',
    says: 'answers HTML to who asks for it',
    answer: (told: Told, seen: Parameters<When>[0]) =>
      onToken(seen, told) && when(seen, told) && seen.headers['accept'] === 'text/html'
        ? { ...told, headers: { ...told.headers, 'content-type': 'text/html' }, body: '<p>' }
        : told,
  })),
  { breaks: 'A7.b', says: 'lets errors be cached', answer: dropHeader('cache-control', onError) },
  {
    breaks: 'A7.b',
    says: 'lets tokens be cached privately',
    answer: setHeader('cache-control', 'private', onSuccess),
  },
  { breaks: 'A7.c', says: 'leaves Pragma out of errors', answer: dropHeader('pragma', onError) },
  { breaks: 'A7.c', says: 'leaves Pragma out of a success', answer: dropHeader('pragma', onSuccess) },
  {
    breaks: 'A8',
    says: 'quotes in a description',
    answer: editJson(is(400), (body) => Object.assign(body, { error_description: 'no "such" thing' })),
  },
  ...['grant_type', 'scope', 'authorization_details'].map((name) => ({
    breaks: 'A8.b',
    says: `repeats ${name}`,
    answer: editJson(is(400), (body, seen) =>
      Object.assign(body, { error_description: `not known: ${fieldsOf(seen).get(name)}` }),
    ),
  })),
  { breaks: 'A9', says: 'answers 401 to a bad subject token', answer: setStatus(401, is(400)) },
  { breaks: 'A9.b', says: 'leaves the challenge out', answer: dropHeader('www-authenticate') },
  {
    breaks: 'A9.b',
    says: 'ignores Authorization',
    ask: (seen) => {
      const { authorization: _, ...headers } = seen.headers;
      return { ...seen, headers };
    },
  },
  { breaks: 'A10', says: 'leaves Retry-After out', answer: dropHeader('retry-after') },
  { breaks: 'A10', says: 'says a date', answer: setHeader('retry-after', 'soon', is(429)) },
  { breaks: 'A10', says: 'calls it access_denied', answer: setError('access_denied', is(429)) },
  {
    breaks: 'A11',
    says: 'believes X-Forwarded-Host',
    answer: (told, seen, { profile }) => {
      const host = seen.headers['x-forwarded-host'];
      const made = told.body.replaceAll(profile.issuer, `https://${String(host)}`);
      return host === undefined || !onMetadata(seen, told) ? told : { ...told, body: made };
    },
  },
  {
    breaks: 'A11',
    says: 'believes Host',
    ask: (seen, { profile }) => ({
      ...seen,
      headers: { ...seen.headers, host: new URL(profile.issuer).host },
    }),
    answer: (told, seen, { profile }) => {
      const made = told.body.replaceAll(profile.issuer, `https://${String(seen.headers['host'])}`);
      return onMetadata(seen, told) ? { ...told, body: made } : told;
    },
  },
  { breaks: 'A12', says: 'is open to all', answer: setHeader('access-control-allow-origin', '*') },
  {
    breaks: 'B1',
    says: 'takes any grant type for the exchange',
    ask: editForm((fields) => fields.has('grant_type') && fields.set('grant_type', exchangeGrant)),
  },
  { breaks: 'B1', says: 'calls it invalid_request', answer: setError('invalid_request', onToken) },
  {
    breaks: 'B1.b',
    says: 'takes the exchange for granted',
    ask: editForm((fields) => !fields.has('grant_type') && fields.set('grant_type', exchangeGrant)),
  },
];
