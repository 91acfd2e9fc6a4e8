import { expect, test } from '@jest/globals';
import { confirmPage, errorPageText, escapeHtml, handOverPage, pageReply, userCodePage } from './pages.ts';

const evil = `"><img src=x onerror='alert(1)'>&\``;

test('text cannot leave its place, between tags or in an attribute', () => {
  expect(escapeHtml(evil)).not.toMatch(/[<>"'`]/);
  const form = { action: evil, xsrf: evil, userCode: evil };
  for (const page of [
    handOverPage({ client: evil, provider: evil, cancel: evil }),
    userCodePage(form, evil),
    confirmPage(form, evil),
  ]) {
    expect(page).not.toContain('<img');
    expect(page.replaceAll(/<style>[^<]*<\/style>/g, '')).not.toMatch(/"[^"<>]*" ?onerror/);
  }
});

test('the one style is named by its hash, so that no other applies', () => {
  const { headers = {}, body, contentType } = pageReply(200, errorPageText('sign_in_lost'));
  expect([contentType, String(body).startsWith('<!doctype html>')]).toEqual([
    'text/html; charset=utf-8',
    true,
  ]);
  expect(headers['content-security-policy']).toMatch(/style-src 'sha256-[A-Za-z0-9+/]{43}='/);
});
