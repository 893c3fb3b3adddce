package store

import (
	"context"
	"database/sql"

	"sandlot/internal/play"
	"sandlot/internal/step"
)

// BenderPlay is bender's record of a play, as JSON of its own making.
type BenderPlay struct {
	ID     play.ID
	Goal   string
	Record []byte
}

// PutBenderPlay creates or replaces the record.
func (s *Store) PutBenderPlay(ctx context.Context, p BenderPlay) error {
	return s.exec(ctx, "save play record", `INSERT INTO bender_plays (play_id, goal, record) VALUES (?, ?, ?)
		ON CONFLICT (play_id) DO UPDATE SET goal = excluded.goal, record = excluded.record`, p.ID, p.Goal, string(p.Record))
}

// BenderPlays returns all records.
func (s *Store) BenderPlays(ctx context.Context) ([]BenderPlay, error) {
	scan := func(rows *sql.Rows, p *BenderPlay) error {
		var record string
		err := rows.Scan(&p.ID, &p.Goal, &record)
		p.Record = []byte(record)
		return err
	}
	return collect(ctx, s.read, "list play records", scan, `SELECT play_id, goal, record FROM bender_plays ORDER BY play_id`)
}

// PutBenderTask creates or replaces the record of one task, as JSON of
// bender's making.
func (s *Store) PutBenderTask(ctx context.Context, id play.ID, name string, record []byte) error {
	return s.exec(ctx, "save task", `INSERT INTO bender_tasks (play_id, name, record) VALUES (?, ?, ?)
		ON CONFLICT (play_id, name) DO UPDATE SET record = excluded.record`, id, name, string(record))
}

// BenderTasks returns the records of a play's tasks that have begun.
func (s *Store) BenderTasks(ctx context.Context, id play.ID) ([][]byte, error) {
	scan := func(rows *sql.Rows, record *[]byte) error { return rows.Scan(record) }
	return collect(ctx, s.read, "list tasks", scan, `SELECT record FROM bender_tasks WHERE play_id = ? ORDER BY name`, id)
}

// DeleteBenderPlay forgets the record, its steps and its tasks.
func (s *Store) DeleteBenderPlay(ctx context.Context, id play.ID) error {
	if err := s.exec(ctx, "delete tasks", `DELETE FROM bender_tasks WHERE play_id = ?`, id); err != nil {
		return err
	}
	if err := s.exec(ctx, "delete steps", `DELETE FROM bender_steps WHERE play_id = ?`, id); err != nil {
		return err
	}
	return s.exec(ctx, "delete play record", `DELETE FROM bender_plays WHERE play_id = ?`, id)
}

// Journal is the step journal of one play; it implements step.Journal.
func (s *Store) Journal(id play.ID) step.Journal { return journal{s, id} }

type journal struct {
	store *Store
	id    play.ID
}

func (j journal) States(ctx context.Context) (map[string]step.State, error) {
	type row struct{ name, state string }
	scan := func(rows *sql.Rows, r *row) error { return rows.Scan(&r.name, &r.state) }
	rows, err := collect(ctx, j.store.read, "read steps", scan, `SELECT name, state FROM bender_steps WHERE play_id = ?`, j.id)
	if err != nil {
		return nil, err
	}
	states := make(map[string]step.State, len(rows))
	for _, r := range rows {
		states[r.name] = step.State(r.state)
	}
	return states, nil
}

func (j journal) Record(ctx context.Context, name string, state step.State) error {
	if state == "" {
		return j.store.exec(ctx, "forget step", `DELETE FROM bender_steps WHERE play_id = ? AND name = ?`, j.id, name)
	}
	return j.store.exec(ctx, "record step", `INSERT INTO bender_steps (play_id, name, state) VALUES (?, ?, ?)
		ON CONFLICT (play_id, name) DO UPDATE SET state = excluded.state`, j.id, name, string(state))
}
