package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// purgeBatch bounds what one transaction of Purge's deletes and locks.
const purgeBatch = 1000

// Purge deletes the rows of a table of which a column is before a time and, if there is a condition, that is true. It
// deletes the oldest first, a batch at a time, each a transaction of its own, and rests after each for as long as that took.
// It gives how many they were. On the column there has to be an index, so that the cost is that of what is deleted. What
// somebody else has locked, such as another replica that purges, is left for the next time.
func Purge(ctx context.Context, pool *pgxpool.Pool, table, column string, before time.Time, condition string) (int, error) {
	if condition != "" {
		condition = " AND " + condition
	}
	deleted := 0
	var from *time.Time // what is older is deleted, and not to be passed again on the way to what is left
	for {
		began := time.Now()
		var rows int
		var batch pgx.Batch // one transaction, which need not wait for the disk
		batch.Queue(`SELECT set_config('synchronous_commit', 'off', true)`)
		batch.Queue(`
			WITH gone AS (
				DELETE FROM `+table+` WHERE ctid = ANY (ARRAY(
					SELECT ctid FROM `+table+`
					WHERE `+column+` < $1 AND `+column+` >= coalesce($2, timestamptz '-infinity')`+condition+`
					ORDER BY `+column+` LIMIT $3 FOR UPDATE SKIP LOCKED))
				RETURNING `+column+` AS at)
			SELECT count(*), max(at) FROM gone`, before, from, purgeBatch).QueryRow(func(row pgx.Row) error { return row.Scan(&rows, &from) })
		if err := pool.SendBatch(ctx, &batch).Close(); err != nil {
			return deleted, fmt.Errorf("purge %s: %w", table, err)
		}
		deleted += rows
		if rows < purgeBatch {
			return deleted, nil
		}
		select {
		case <-ctx.Done():
			return deleted, ctx.Err()
		case <-time.After(time.Since(began)):
		}
	}
}
