import { objectOf } from '../http.ts';
import { editDetail } from './b-exchange.ts';
import {
  dropFields,
  dropMember,
  editForm,
  editJson,
  goodDetail,
  onMetadata,
  onPath,
  onSuccess,
  onToken,
  resign,
  setError,
  type When,
} from './moves.ts';
import type { Mutant } from './mutant.ts';

const issued: When = (seen, told) => onToken(seen, told) && onSuccess(seen, told);
const widened = (details: unknown) =>
  Object.assign(Object([details].flat()[0]), { actions: ['read', 'write'] });

/** Rewrites the text of the details. */
function rewrite(change: (value: unknown) => unknown) {
  return editForm((fields) => {
    try {
      const value: unknown = JSON.parse(fields.get('authorization_details') ?? '');
      fields.set('authorization_details', JSON.stringify(change(value)));
    } catch {} // What is no JSON goes on as it is.
  });
}

export const targetMutants: readonly Mutant[] = [
  {
    breaks: 'C1',
    says: 'reads a fragment away',
    ask: editForm((fields) => {
      const [before, fragment] = (fields.get('resource') ?? '').split('#');
      if (fragment !== undefined) fields.set('resource', before ?? '');
    }),
  },
  {
    breaks: 'C1',
    says: 'takes a relative URI',
    ask: editForm((fields) => !(fields.get('resource') ?? 'x:').includes(':') && fields.delete('resource')),
  },
  {
    breaks: 'C2',
    says: 'reads a slash at the end away',
    ask: editForm(
      (fields) =>
        fields.has('resource') && fields.set('resource', (fields.get('resource') ?? '').replace(/\/$/, '')),
    ),
  },
  {
    breaks: 'C2',
    says: 'compares without case',
    ask: editForm((fields, _, { profile }) => {
      const identifier = String(profile.details['plain']?.['identifier']);
      const resource = decodeURIComponent(fields.get('resource') ?? '');
      if (resource.toLowerCase() === identifier.toLowerCase()) fields.set('resource', identifier);
    }),
  },
  {
    breaks: 'C3',
    says: 'takes any type',
    ask: editDetail((detail) => Object.assign(detail, { type: 'mayfly_tool_call' })),
  },
  { breaks: 'C3', says: 'calls it invalid_request', answer: setError('invalid_request', onToken) },
  {
    breaks: 'C3.b',
    says: 'ignores what it does not know',
    ask: editDetail((detail) => Reflect.deleteProperty(detail, 'conformance_unknown')),
  },
  {
    breaks: 'C3.c',
    says: 'reads numbers out of text',
    ask: editDetail(
      (detail) => typeof detail['ttl'] === 'string' && Object.assign(detail, { ttl: Number(detail['ttl']) }),
    ),
  },
  {
    breaks: 'C3.c',
    says: 'ignores verbs that it does not know',
    ask: editDetail(
      (detail) =>
        JSON.stringify(detail['actions']) === '["fly"]' && Reflect.deleteProperty(detail, 'actions'),
    ),
  },
  {
    breaks: 'C3.d',
    says: 'has a tool for who names none',
    ask: editDetail((detail, { profile }) =>
      Object.assign(detail, { tool: profile.details['plain']?.['tool'] }),
    ),
  },
  {
    breaks: 'C3.e',
    says: 'takes the first of two',
    ask: rewrite((value) => (Array.isArray(value) ? value.slice(0, 1) : value)),
  },
  {
    breaks: 'C3.e',
    says: 'takes none for all',
    ask: (seen, tools) => (seen.body.includes('=%5B%5D') ? goodDetail()(seen, tools) : seen),
  },
  { breaks: 'C3.f', says: 'lets the last of two keys win', ask: rewrite((value) => value) },
  {
    breaks: 'C3.g',
    says: 'takes an object for a list of it',
    ask: rewrite((value) =>
      typeof value === 'object' && value !== null && !Array.isArray(value) ? [value] : value,
    ),
  },
  {
    breaks: 'C4',
    says: 'needs no detail',
    ask: (seen, tools) => (seen.body.includes('authorization_details') ? seen : goodDetail()(seen, tools)),
  },
  { breaks: 'C4.b', says: 'knows no stored grants', ask: dropFields('audience') },
  { breaks: 'C5', says: 'lets the detail win', ask: dropFields('audience') },
  {
    breaks: 'C5',
    says: 'lets the grant win',
    ask: editForm((fields) => fields.has('audience') && fields.delete('authorization_details')),
  },
  {
    breaks: 'C6',
    says: 'does not say what was granted',
    answer: dropMember('authorization_details', issued),
  },
  {
    breaks: 'C6',
    says: 'does not say which verbs were granted',
    answer: editJson(issued, (body) =>
      Reflect.deleteProperty(Object([body['authorization_details']].flat()[0]), 'actions'),
    ),
  },
  {
    breaks: 'C6.b',
    says: 'leaves it out of the token',
    ...resign((claims) => Reflect.deleteProperty(claims, 'authorization_details')),
  },
  {
    breaks: 'C6.c',
    says: 'leaves it out of introspection',
    answer: dropMember('authorization_details', onPath('/introspect')),
  },
  { breaks: 'C6.d', says: 'names no issuance', answer: dropMember('issuance', issued) },
  {
    breaks: 'C6.d',
    says: 'says another end',
    answer: editJson(issued, (body) =>
      Object.assign(Object(body['issuance']), { expires_at: new Date(Date.now() + 3_600_000).toISOString() }),
    ),
  },
  {
    breaks: 'C7',
    says: 'lists no type',
    answer: dropMember('authorization_details_types_supported', onMetadata),
  },
  {
    breaks: 'C7.b',
    says: 'publishes an open schema',
    answer: editJson(
      ({ path }) => path.startsWith('/schemas'),
      (body) => Object.assign(body, { additionalProperties: true }),
    ),
  },
  {
    breaks: 'C7.b',
    says: 'publishes none',
    answer: (told, { path }) => (path.startsWith('/schemas') ? { ...told, status: 404 } : told),
  },
  {
    breaks: 'C8',
    says: 'grants all verbs',
    answer: editJson(issued, (body) => widened(body['authorization_details'])),
  },
  {
    breaks: 'C8',
    says: 'writes all verbs into the token',
    ...resign((claims) => widened(claims['authorization_details'])),
  },
  {
    breaks: 'G3',
    says: 'names no task',
    ...resign((claims) => Reflect.deleteProperty(claims, 'txn')),
  },
  {
    breaks: 'G3.b',
    says: 'passes the address on',
    ...resign((claims, _, seen) => {
      const [, payload = ''] = (new URLSearchParams(seen.body).get('subject_token') ?? '').split('.');
      const { email } = objectOf(Buffer.from(payload, 'base64url').toString());
      Object.assign(claims, { email });
    }),
  },
];
