"""One event, taken once: consumer.py EVENT_ID EVENT_TIME ORDER_ID AMOUNT; the connection is libpq's (PGHOST, ...).

Commit the message's offset after handle() has returned, never before. Any exception: nothing was done, try again.
"""
import sys

import psycopg


def handle(conn, event_id, event_time, order_id, amount):
    """True: done now. False: done before."""
    with conn.transaction():
        first_time = conn.execute(
            "SELECT inbox.claim('billing', %s::uuid, %s::timestamptz)", (event_id, event_time)
        ).fetchone()[0]
        if first_time:
            conn.execute("INSERT INTO payment (order_id, amount) VALUES (%s, %s)", (order_id, amount))
    return first_time


if __name__ == "__main__":
    with psycopg.connect("", autocommit=True) as connection:
        try:
            print("taken" if handle(connection, *sys.argv[1:5]) else "seen before")
        except psycopg.Error as error:
            if error.sqlstate != "IB003":
                raise
            print("too old: to the dead-letter topic")  # it will never be younger: trying again is of no use
