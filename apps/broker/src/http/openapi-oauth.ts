import { grantTypeDeferred, grantTypeTokenExchange, tokenType, toolCallSchema } from '@mayfly/protocol';

type Schema = Readonly<Record<string, unknown>>;

const text: Schema = { type: 'string' };
const said = (description: string, more: Schema = {}): Schema => ({ ...text, description, ...more });
const object = (properties: Schema, required: readonly string[] = []): Schema => ({
  type: 'object',
  properties,
  required,
});
const closed = (properties: Schema, required: readonly string[]): Schema => ({
  ...object(properties, required),
  additionalProperties: false,
});

const detail = toolCallSchema('mayfly_tool_call.json');
const uris: Schema = { type: 'array', items: { ...text, format: 'uri' } };

const tokenForm = object(
  {
    grant_type: { ...text, enum: [grantTypeTokenExchange, grantTypeDeferred] },
    subject_token: said('Assertion of a trusted issuer, or a task token'),
    subject_token_type: { ...text, enum: [tokenType.jwt, tokenType.idToken, tokenType.accessToken] },
    authorization_details: said('JSON array of exactly one mayfly_tool_call', {
      contentMediaType: 'application/json',
      contentSchema: { type: 'array', items: detail, minItems: 1, maxItems: 1 },
    }),
    audience: {
      ...uris,
      description: 'ISSUER/grants/ID of a stored grant, or another name of the one target',
    },
    resource: { ...uris, description: 'Must be the identifier or the audience of its server (RFC 8707)' },
    scope: said('Verbs to narrow to; addresses of other services are ignored'),
    requested_token_type: text,
    actor_token: text,
    actor_token_type: text,
    client_id: said('Ignored, but with a client assertion, whose workload it must name'),
    client_assertion: said('Optional assertion of the same workload (RFC 7523)'),
    client_assertion_type: {
      ...text,
      enum: ['jwt-bearer', 'jwt-spiffe'].map((one) => `urn:ietf:params:oauth:client-assertion-type:${one}`),
    },
    completion_mode: text,
    deferral_code: text,
  },
  ['grant_type'],
);

const tokenAnswer = object(
  {
    access_token: text,
    issued_token_type: text,
    token_type: { ...text, enum: ['Bearer', 'DPoP', 'N_A'] },
    expires_in: { type: 'integer' },
    scope: said('Present when it is not what was asked for'),
    authorization_details: { type: 'array', items: { type: 'object' }, minItems: 1, maxItems: 1 },
    issuance: { type: 'object' },
    task_token: said('When this exchange opened the task'),
  },
  ['access_token', 'issued_token_type', 'token_type', 'expires_in', 'authorization_details', 'issuance'],
);

const introspectionAnswer = object(
  {
    ...{
      active: { type: 'boolean' },
      iss: text,
      sub: text,
      aud: text,
      client_id: text,
      jti: text,
      txn: text,
    },
    ...{ exp: { type: 'integer' }, iat: { type: 'integer' }, token_type: text },
    ...{ act: { type: 'object' }, cnf: { type: 'object' }, authorization_details: { type: 'array' } },
  },
  ['active'],
);

const refusal = closed(
  {
    error: text,
    error_description: text,
    error_uri: { ...text, format: 'uri' },
    reason: said('Stable; every one is in docs/errors.md'),
    issuance_id: said('Once the caller is attested'),
    trace_id: text,
  },
  ['error', 'error_description', 'error_uri', 'reason', 'trace_id'],
);

const namedToken = object({ token: text, token_type_hint: text }, ['token']);
const statuses = {
  400: 'Refused',
  401: 'Not authenticated',
  413: 'Too large',
  429: 'Too many',
  503: 'Try again',
};

interface OauthRoute {
  readonly summary: string;
  readonly form: Schema;
  readonly answer: Schema;
  /** The token endpoint takes its caller from the form. */
  readonly bearer: boolean;
}

const posts: Readonly<Record<string, OauthRoute>> = {
  '/token': { summary: 'Token exchange (RFC 8693)', form: tokenForm, answer: tokenAnswer, bearer: false },
  '/introspect': {
    ...{ summary: 'Token introspection (RFC 7662)', form: namedToken, answer: introspectionAnswer },
    bearer: true,
  },
  '/revoke': {
    ...{ summary: 'Token revocation (RFC 7009)', form: namedToken, answer: closed({}, []), bearer: true },
  },
};

const documents: Readonly<Record<string, string>> = {
  '/jwks': 'Keys of the tokens signed here',
  '/.well-known/oauth-authorization-server': 'Metadata (RFC 8414)',
  '/.well-known/openid-configuration': 'The same under OpenID Connect’s name',
  '/.well-known/oauth-protected-resource': '/v1 as a protected resource (RFC 9728)',
  '/schemas/mayfly_tool_call.json': 'JSON Schema of the descriptor',
};

/** What sign-in says of itself in the metadata. */
export interface SignInServed {
  readonly device_authorization_endpoint?: string;
  readonly authorization_endpoint?: string;
}

const deviceRoute: OauthRoute = {
  summary: 'Device authorization (RFC 8628)',
  form: object({ client_id: text, scope: text }, ['client_id']),
  answer: object(
    {
      ...{ device_code: text, user_code: text, verification_uri: { ...text, format: 'uri' } },
      ...{ verification_uri_complete: { ...text, format: 'uri' }, expires_in: { type: 'integer' } },
      interval: { type: 'integer' },
    },
    ['device_code', 'user_code', 'verification_uri', 'expires_in', 'interval'],
  ),
  bearer: false,
};
const authorizePage = {
  get: {
    summary: 'Authorization code with PKCE, for a browser (RFC 6749 section 4.1, RFC 7636)',
    security: [],
    responses: {
      303: { description: 'Onwards' },
      default: { description: 'A page that says what is wrong' },
    },
  },
};

/** The OAuth routes for the OpenAPI document, as the parsers and the answers have them. */
export function oauthPaths(
  signIn: SignInServed,
): Readonly<Record<string, Readonly<Record<string, unknown>>>> {
  const device =
    signIn.device_authorization_endpoint === undefined ? {} : { '/device_authorization': deviceRoute };
  const pages = signIn.authorization_endpoint === undefined ? {} : { '/authorize': authorizePage };
  const json = (schema: Schema) => ({ 'application/json': { schema } });
  const refused = Object.entries(statuses).map(([status, description]) => [
    status,
    { description, content: json(refusal) },
  ]);
  const posted = Object.entries({ ...posts, ...device }).map(([path, { summary, form, answer, bearer }]) => {
    const requestBody = {
      required: true,
      content: { 'application/x-www-form-urlencoded': { schema: form } },
    };
    const responses = { 200: { description: 'Done', content: json(answer) }, ...Object.fromEntries(refused) };
    return [path, { post: { summary, ...(bearer ? {} : { security: [] }), requestBody, responses } }];
  });
  const events = {
    summary: 'Security events about the subjects of a TrustedIssuer, pushed (RFC 8935, CAEP 1.0)',
    security: [],
    requestBody: { required: true, content: { 'application/secevent+jwt': { schema: text } } },
    responses: {
      202: { description: 'Taken, and durable' },
      400: {
        description: 'Not taken',
        content: json(
          closed({ err: text, description: text, reason: text, trace_id: text }, ['err', 'description']),
        ),
      },
      429: { description: 'Too many ends in a minute: send it again' },
      503: { description: 'Send it again' },
    },
  };
  const read = Object.entries(documents).map(([path, summary]) => {
    const responses = { 200: { description: summary, content: json({ type: 'object' }) } };
    return [path, { get: { summary, security: [], responses } }];
  });
  return { ...Object.fromEntries([...posted, ...read]), '/v1/events': { post: events }, ...pages };
}
