import { Misconfigured } from './errors.ts';

/** Where `mayfly dev` listens. */
export const defaultServer = 'http://127.0.0.1:8080';

/**
 * The broker's origin. Plain http only to loopback: what is sent there are assertions, what comes back credentials.
 * Throws Misconfigured `server_invalid` or `server_plain_http`; the text itself is not quoted, it may hold a password.
 */
export function parseServer(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const invalid = (says: string) =>
    new Misconfigured({ reason: 'server_invalid', says, todo: 'Set MAYFLY_SERVER to https://host[:port].' });
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:'))
    throw invalid('the server is no http(s) address.');
  if (url.username !== '' || url.password !== '')
    throw invalid('the server address holds a user or password.');
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '')
    throw invalid('the server address holds more than an origin.');
  if (url.protocol === 'http:' && !isLoopback(url.hostname))
    throw new Misconfigured({
      reason: 'server_plain_http',
      says: `plain http to ${url.hostname}: credentials would cross the network in the clear.`,
      todo: 'Set MAYFLY_SERVER to an https address; plain http is for loopback only.',
    });
  return url;
}

function isLoopback(host: string): boolean {
  // The URL parser has brought every spelling of an IPv4 address to four decimal numbers.
  return host === 'localhost' || host === '[::1]' || /^127\.[0-9]+\.[0-9]+\.[0-9]+$/.test(host);
}
