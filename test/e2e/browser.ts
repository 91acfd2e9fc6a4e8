/** A browser without a screen: a cookie jar by host and path, redirects one at a time, forms and links by name. */
export interface Browser {
  /** One request; nothing is followed. */
  get(url: string): Promise<Page>;
  post(url: string, form: Record<string, string>): Promise<Page>;
  /** Follows redirects until a page or a place that `stop` names. */
  open(url: string, stop?: (url: string) => boolean): Promise<Page>;
  follow(page: Page, stop?: (url: string) => boolean): Promise<Page>;
  /** Drops the cookies of this origin. */
  forget(origin: string): void;
  /** Values of all cookies that it ever got. */
  readonly cookies: readonly string[];
}

export interface Page {
  readonly url: string;
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** Absolute; empty when there is none. */
  readonly location: string;
}

interface Cookie {
  readonly host: string;
  readonly path: string;
  readonly value: string;
}

const redirectsMax = 12;

export function openBrowser(): Browser {
  const jar = new Map<string, Cookie>();
  const seen: string[] = [];
  const send = async (url: string, init: RequestInit = {}): Promise<Page> => {
    const { host, pathname } = new URL(url);
    const cookie = [...jar]
      .filter(([, one]) => one.host === host && isUnder(pathname, one.path))
      .map(([key, { value }]) => `${key.split(' ')[0]}=${value}`)
      .join('; ');
    const headers = { ...init.headers, accept: 'text/html', ...(cookie === '' ? {} : { cookie }) };
    const answer = await fetch(url, { ...init, headers, redirect: 'manual' });
    for (const line of answer.headers.getSetCookie()) keep(line, host);
    const location = answer.headers.get('location');
    return {
      url,
      status: answer.status,
      headers: answer.headers,
      text: await answer.text(),
      location: location === null ? '' : new URL(location, url).href,
    };
  };
  const keep = (line: string, host: string) => {
    const [pair = '', ...attributes] = line.split('; ');
    const [name = ''] = pair.split('=');
    const value = pair.slice(name.length + 1);
    const path = attributes.find((one) => one.toLowerCase().startsWith('path='))?.slice(5) ?? '/';
    if (value === '') return void jar.delete(`${name} ${host} ${path}`);
    jar.set(`${name} ${host} ${path}`, { host, path, value });
    seen.push(value);
  };
  const follow = async (page: Page, stop: (url: string) => boolean = () => false): Promise<Page> => {
    let at = page;
    for (let count = 0; at.location !== '' && !stop(at.location); count += 1) {
      if (count >= redirectsMax) throw new Error(`redirected without end at ${at.url}`);
      at = await send(at.location);
    }
    return at;
  };
  return {
    get: (url) => send(url),
    post: (url, form) => send(url, { method: 'POST', body: new URLSearchParams(form) }),
    open: async (url, stop) => follow(await send(url), stop),
    follow,
    forget: (origin) => {
      for (const [key, { host }] of jar) if (host === new URL(origin).host) jar.delete(key);
    },
    cookies: seen,
  };
}

function isUnder(path: string, cookiePath: string): boolean {
  return cookiePath === '/' || path === cookiePath || path.startsWith(`${cookiePath.replace(/\/$/, '')}/`);
}

/** The value of an input, unescaped. */
export function inputOf({ text }: Page, name: string): string {
  const [, value = ''] = new RegExp(`name="${name}"[^>]*value="([^"]*)"`).exec(text) ?? [];
  return value.replaceAll(/&#(\d+);/g, (_, code: string) => String.fromCharCode(Number(code)));
}

export function linkOf({ text, url }: Page, says: string): string {
  const [, href = ''] = new RegExp(`<a href="([^"]*)">${says}</a>`).exec(text) ?? [];
  return new URL(href, url).href;
}
