import { createHash } from 'node:crypto';
import { errorRow, type Reason } from '@mayfly/protocol';
import type { Reply } from '../http/errors.ts';

const style = `:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{max-width:30rem;margin:4rem auto;padding:0 1rem}
h1{font-size:1.4rem}
code,input{font:1.3rem ui-monospace,monospace;letter-spacing:.1em}
input{width:100%;padding:.5rem;box-sizing:border-box;text-transform:uppercase}
a,button{display:inline-block;margin:1rem 1rem 0 0;font:inherit}
button{padding:.5rem 1rem}`;
const styleHash = createHash('sha256').update(style).digest('base64');

/** No script runs, nothing is loaded, nobody frames the page, forms go nowhere else. */
const pageHeaders: Readonly<Record<string, string>> = {
  'content-security-policy': `default-src 'none'; style-src 'sha256-${styleHash}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`,
  'referrer-policy': 'no-referrer',
  'x-frame-options': 'DENY',
};
const pageType = 'text/html; charset=utf-8';

/** Text for HTML, between tags and in quoted attributes. */
export function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"'`]/g, (one) => `&#${one.charCodeAt(0)};`);
}

/** `body` is HTML: whoever calls escapes what is not ours. */
function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)} · Mayfly</title><style>${style}</style></head>
<body><h1>${escapeHtml(title)}</h1>
${body}
</body></html>
`;
}

export function handOverPage(of: { client: string; provider: string; cancel: string }): string {
  return page(
    'Sign in',
    `<p><strong>${escapeHtml(of.client)}</strong> asks you to sign in at <strong>${escapeHtml(of.provider)}</strong>.</p>
<p>If you did not start this, cancel it.</p>
<a href="/sign-in/continue">Continue</a><a href="/sign-in/cancel?key=${encodeURIComponent(of.cancel)}">Cancel</a>`,
  );
}

export interface DeviceForm {
  readonly action: string;
  /** Ties the form to this browser. */
  readonly xsrf: string;
  readonly userCode: string;
}

export function userCodePage({ action, xsrf, userCode }: DeviceForm, problem: string | null): string {
  return page(
    'Enter the code',
    `<p>${escapeHtml(problem ?? 'Enter the code that your terminal shows.')}</p>
<form method="post" action="${escapeHtml(action)}">
<input type="hidden" name="xsrf" value="${escapeHtml(xsrf)}">
<input name="user_code" value="${escapeHtml(userCode)}" autocomplete="off" autofocus aria-label="Code">
<button type="submit">Continue</button></form>`,
  );
}

export function confirmPage({ action, xsrf, userCode }: DeviceForm, client: string): string {
  return page(
    'Is this your terminal?',
    `<p><strong>${escapeHtml(client)}</strong> shows this code:</p><p><code>${escapeHtml(userCode)}</code></p>
<p>Go on only if you started this yourself and the codes are the same: whoever holds that terminal will act as you.</p>
<form method="post" action="${escapeHtml(action)}">
<input type="hidden" name="xsrf" value="${escapeHtml(xsrf)}">
<input type="hidden" name="user_code" value="${escapeHtml(userCode)}">
<button type="submit" name="confirm" value="yes">The codes are the same</button>
<button type="submit" name="abort" value="yes">Cancel</button></form>`,
  );
}

export function donePage(): string {
  return page('Signed in', '<p>You can close this page and go back to your terminal.</p>');
}

export function cancelledPage(): string {
  return page('Cancelled', '<p>Nobody was signed in. You can close this page.</p>');
}

/** Constant sentences of the table, never the cause. */
export function errorPageText(reason: Reason): string {
  const { says, todo } = errorRow(reason);
  return page('Sign-in did not work', `<p>${escapeHtml(says)}</p><p>${escapeHtml(todo)}</p>`);
}

export function pageReply(status: number, body: string, headers: Reply['headers'] = {}): Reply {
  return { status, body, contentType: pageType, headers: { ...pageHeaders, ...headers } };
}
