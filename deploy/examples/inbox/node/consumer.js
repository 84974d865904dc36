// One event, taken once: consumer.js EVENT_ID EVENT_TIME ORDER_ID AMOUNT; the connection is libpq's (PGHOST, ...).
//
// Commit the message's offset after handle() has returned, never before. Any exception: nothing was done, try again.
'use strict';
const { Client } = require('pg');

// true: done now; false: done before
async function handle(client, eventId, eventTime, orderId, amount) {
  await client.query('BEGIN');
  try {
    const claim = await client.query(
      "SELECT inbox.claim('billing', $1, $2) AS first_time", [eventId, eventTime]);
    const firstTime = claim.rows[0].first_time;
    if (firstTime) {
      await client.query('INSERT INTO payment (order_id, amount) VALUES ($1, $2)', [orderId, amount]);
    }
    await client.query('COMMIT');
    return firstTime;
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  }
}

async function main() {
  const client = new Client();
  await client.connect();
  try {
    console.log(await handle(client, ...process.argv.slice(2, 6)) ? 'taken' : 'seen before');
  } catch (error) {
    if (error.code !== 'IB003') {
      throw error;
    }
    console.log('too old: to the dead-letter topic'); // it will never be younger: trying again is of no use
  } finally {
    await client.end();
  }
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
