import { z } from 'zod';
import { oauthPaths, type SignInServed } from './openapi-oauth.ts';
import type { Route } from './route.ts';
import { routes } from './routes.ts';

/** OpenAPI 3.1 of /v1 and the OAuth routes, from the same table that registers them; with sign-in, where that is on. */
export function openApi(issuer: string, signIn: SignInServed = {}): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    const path = route.path.replaceAll(/:([a-z]+)/g, '{$1}');
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route) };
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Mayfly', version: '0.1.0', license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    servers: [{ url: issuer }],
    paths: { ...paths, ...oauthPaths(signIn) },
    components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } } },
    security: [{ bearer: [] }],
  };
}

const answers = {
  200: { description: 'Done' },
  default: {
    description: 'Refused',
    content: { 'application/problem+json': { schema: { type: 'object' } } },
  },
};

function operation(route: Route): Record<string, unknown> {
  const named = [...route.path.matchAll(/:([a-z]+)/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));
  const query = (route.query ?? []).map((name) => ({ name, in: 'query', schema: { type: 'string' } }));
  const json =
    route.body === undefined
      ? {}
      : {
          'application/json': { schema: z.toJSONSchema(route.body, { io: 'input', unrepresentable: 'any' }) },
        };
  const other = route.consumes === undefined ? {} : { [route.consumes]: { schema: { type: 'string' } } };
  const content = { ...json, ...other };
  return {
    summary: route.says,
    'x-mayfly-access': route.access,
    parameters: [...named, ...query],
    ...(Object.keys(content).length === 0 ? {} : { requestBody: { content } }),
    responses: answers,
  };
}
