// One event, taken once: consumer EVENT_ID EVENT_TIME ORDER_ID AMOUNT; the connection is libpq's (PGHOST, ...).
//
// Commit the message's offset after handle has returned without an error, never before. Any error: nothing was done, try
// again.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// true: done now; false: done before
func handle(ctx context.Context, conn *pgx.Conn, eventID, eventTime, orderID, amount string) (firstTime bool, err error) {
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, "SELECT inbox.claim('billing', $1::text::uuid, $2::text::timestamptz)",
			eventID, eventTime).Scan(&firstTime)
		if err != nil || !firstTime {
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO payment (order_id, amount) VALUES ($1::text::bigint, $2::text::bigint)",
			orderID, amount)
		return err
	})
	return firstTime, err
}

func run() error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, "")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	firstTime, err := handle(ctx, conn, os.Args[1], os.Args[2], os.Args[3], os.Args[4])
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused) && refused.Code == "IB003":
		fmt.Println("too old: to the dead-letter topic") // it will never be younger: trying again is of no use
	case err != nil:
		return err
	case firstTime:
		fmt.Println("taken")
	default:
		fmt.Println("seen before")
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
