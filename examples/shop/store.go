// SPDX-License-Identifier: Apache-2.0

// The database. Its errors that are a client's to mend have their codes here; those of
// SQLite have none, and WithSafeErrors keeps their texts from clients.

package main

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"

	_ "modernc.org/sqlite" // the driver

	"github.com/seed-b7c59c10/connect"
	shopv1 "github.com/seed-b7c59c10/connect/examples/shop/gen/shop/v1"
)

//go:embed migrations/*.sql
var migrations embed.FS

// A store is safe for concurrent use: it has one connection, for which calls wait until
// their contexts end. SQLite writes one transaction at a time anyway.
type store struct{ db *sql.DB }

// openStore opens the database, makes it if it does not exist, and brings its tables up to
// date. A commit returns when it is on the disk.
func openStore(ctx context.Context, path string) (*store, error) {
	name := url.URL{Scheme: "file", Opaque: url.PathEscape(path), RawQuery: "_txlock=immediate" +
		"&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_pragma=busy_timeout(5000)"}
	db, err := sql.Open("sqlite", name.String())
	if err != nil {
		return nil, fmt.Errorf("opening the database %q: %w", path, err)
	}
	db.SetMaxOpenConns(1)
	s := &store{db}
	if err := s.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the database %q: %w", path, err), db.Close())
	}
	return s, nil
}

// migrate runs the migrations that the database has not had, each in a transaction with
// its number in user_version.
func (s *store) migrate(ctx context.Context) error {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	var version int
	if err := s.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if version > len(names) {
		return fmt.Errorf("its version is %d, and this program has migrations up to %d: use a newer program", version, len(names))
	}
	for version < len(names) {
		version++
		script, err := migrations.ReadFile(fmt.Sprintf("migrations/%d.sql", version))
		if err != nil {
			return err
		}
		err = s.within(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, fmt.Sprintf("%s; PRAGMA user_version = %d", script, version))
			return err
		})
		if err != nil {
			return fmt.Errorf("running migration %d: %w", version, err)
		}
	}
	return nil
}

// within runs f in a transaction, which it commits if f returns nil.
func (s *store) within(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		_ = tx.Rollback()
		return err
	}
	return tx.Commit()
}

func (s *store) products(ctx context.Context) (products []*shopv1.Product, err error) {
	rows, err := s.db.QueryContext(ctx, "SELECT id, name, price_cents, stock FROM products ORDER BY id")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		p := &shopv1.Product{}
		if err := rows.Scan(&p.Id, &p.Name, &p.PriceCents, &p.Stock); err != nil {
			return nil, err
		}
		products = append(products, p)
	}
	return products, rows.Err()
}

// place makes an order, or returns the one that the customer has made with the same
// request.
func (s *store) place(ctx context.Context, customer string, req *shopv1.PlaceOrderRequest) (order *shopv1.Order, err error) {
	err = s.within(ctx, func(tx *sql.Tx) error {
		var id int64
		err := tx.QueryRowContext(ctx, "SELECT id FROM orders WHERE customer = ? AND request_id = ?", customer, req.RequestId).Scan(&id)
		if err == nil {
			order, err = readOrder(ctx, tx, id)
			return err
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		order = &shopv1.Order{Customer: customer, Items: req.Items, Status: shopv1.Status_STATUS_PLACED}
		if order.TotalCents, err = takeStock(ctx, tx, req.Items); err != nil {
			return err
		}
		err = tx.QueryRowContext(ctx, "INSERT INTO orders (customer, request_id, total_cents, status) VALUES (?, ?, ?, ?) RETURNING id",
			customer, req.RequestId, order.TotalCents, order.Status).Scan(&order.Id)
		if err != nil {
			return err
		}
		for _, item := range req.Items {
			if _, err := tx.ExecContext(ctx, "INSERT INTO items (order_id, product_id, quantity) VALUES (?, ?, ?)", order.Id, item.ProductId, item.Quantity); err != nil {
				return err
			}
		}
		return nil
	})
	return order, err
}

// takeStock takes the items out of stock and returns their price.
func takeStock(ctx context.Context, tx *sql.Tx, items []*shopv1.Item) (cents int32, err error) {
	short := connect.NewError(connect.CodeFailedPrecondition, errors.New("placing an order: not enough in stock; the details have what there is"))
	for _, item := range items {
		var price, stock int32
		err := tx.QueryRowContext(ctx, "SELECT price_cents, stock FROM products WHERE id = ?", item.ProductId).Scan(&price, &stock)
		if errors.Is(err, sql.ErrNoRows) {
			return 0, connect.NewError(connect.CodeNotFound, fmt.Errorf("placing an order: there is no product %q; ListProducts has them all", item.ProductId))
		}
		if err != nil {
			return 0, err
		}
		if stock < item.Quantity {
			detail, err := connect.NewErrorDetail(&shopv1.OutOfStock{ProductId: item.ProductId, Wanted: item.Quantity, Available: stock})
			if err != nil {
				return 0, err
			}
			short.AddDetail(detail)
		}
		if _, err := tx.ExecContext(ctx, "UPDATE products SET stock = max(0, stock - ?) WHERE id = ?", item.Quantity, item.ProductId); err != nil {
			return 0, err
		}
		cents += price * item.Quantity
	}
	if len(short.Details()) > 0 {
		return 0, short // and the transaction takes nothing
	}
	return cents, nil
}

// setStatus moves an order forward, and does nothing if it has the status already.
func (s *store) setStatus(ctx context.Context, id int64, status shopv1.Status) (order *shopv1.Order, err error) {
	err = s.within(ctx, func(tx *sql.Tx) error {
		if order, err = readOrder(ctx, tx, id); err != nil {
			return err
		}
		if status < order.Status {
			return connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("moving order %d: it is %v, and cannot go back to %v", id, order.Status, status))
		}
		order.Status = status
		_, err := tx.ExecContext(ctx, "UPDATE orders SET status = ? WHERE id = ?", status, id)
		return err
	})
	return order, err
}

func (s *store) order(ctx context.Context, id int64) (order *shopv1.Order, err error) {
	err = s.within(ctx, func(tx *sql.Tx) error {
		order, err = readOrder(ctx, tx, id)
		return err
	})
	return order, err
}

func errNoOrder(id int64) error {
	return connect.NewError(connect.CodeNotFound, fmt.Errorf("looking for an order: the caller has none with the number %d", id))
}

func readOrder(ctx context.Context, tx *sql.Tx, id int64) (*shopv1.Order, error) {
	order := &shopv1.Order{Id: id}
	err := tx.QueryRowContext(ctx, "SELECT customer, total_cents, status FROM orders WHERE id = ?", id).Scan(&order.Customer, &order.TotalCents, &order.Status)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errNoOrder(id)
	}
	if err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, "SELECT product_id, quantity FROM items WHERE order_id = ? ORDER BY product_id", id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		item := &shopv1.Item{}
		if err := rows.Scan(&item.ProductId, &item.Quantity); err != nil {
			return nil, err
		}
		order.Items = append(order.Items, item)
	}
	return order, rows.Err()
}
