// An agent that reads three invoices, each with keys that open this one object for a minute, and posts a report.
// Needs a running `npm start`; README.md beside it shows how to run it.
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { Mayfly, MayflyError } from '@mayfly/sdk';

const mayfly = new Mayfly();

await using task = await mayfly.task({
  template: 'invoice-reconcile',
  params: { quarter: '2026q3' },
  objective: 'reconcile Q3',
});
console.log(`${task.id} open, tools: ${task.grants.map(({ tool }) => tool).join(', ')}`);

try {
  for (const key of ['2026q3/a.pdf', '2026q3/b.pdf', '2026q4/a.pdf']) console.log(key, await read(key));
  const report = 'https://reports.example/2026q3';
  const token = await task.token('report.post', report);
  console.log(`report.post ${token.tokenType} ${token.accessToken}`); // prints "[secret]"
  // await fetch(report, { method: 'POST', headers: { authorization: token.authorization() }, body, signal: task.signal });
  const { state, total } = await task.complete();
  console.log(`${task.id} ${state}, ${total} credentials taken back`);
} catch (error) {
  await task.fail();
  throw error;
}

/** One object, with keys for it alone; what is not granted comes back as words for the model. */
async function read(key: string): Promise<string> {
  const credentials = task.aws('s3.read', `arn:aws:s3:::invoices/${key}`);
  const endpoint = process.env['S3'];
  const s3 = new S3Client({
    region: 'eu-west-1',
    credentials,
    forcePathStyle: true,
    ...(endpoint === undefined ? {} : { endpoint }),
  });
  try {
    const { Body } = await s3.send(new GetObjectCommand({ Bucket: 'invoices', Key: key }), {
      abortSignal: task.signal,
    });
    return (await Body?.transformToString())?.trim() ?? '';
  } catch (error) {
    if (error instanceof MayflyError) return error.toModelMessage();
    throw error;
  } finally {
    s3.destroy();
  }
}
