// A load of one kind on servers of etcd's API, by the Go client that most of its users have.
//
//	load --endpoints 127.0.0.1:2379 --kind put --clients 64 --seconds 4
//
// Each client has a connection of its own and one request under way. Prints JSON: operations a second, what their
// times were in microseconds, and how many failed. Of watches it counts the events that arrive.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math/rand"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/clientv3"
)

var (
	endpoints = flag.String("endpoints", "127.0.0.1:2379", "where to, separated by commas")
	kind      = flag.String("kind", "put", "put, get, serializable, mixed, range, txn, watch, keepalive or fill")
	clients   = flag.Int("clients", 1, "how many ask at once; of watch: how many watch")
	keys      = flag.Int("keys", 1000, "of how many keys")
	bytes     = flag.Int("value-bytes", 256, "the size of a value")
	seconds   = flag.Float64("seconds", 4, "for how long, after a second of warming up")
)

const (
	warmUp       = time.Second
	watchedKey   = "/registry/watched"
	streamsEach  = 100 // watches on one connection
	rangeLimit   = 100
	fillTogether = 64
)

type operation func(ctx context.Context, client *clientv3.Client, random *rand.Rand) error

func key(number int) string { return fmt.Sprintf("/registry/pods/%08d", number) }

func put(ctx context.Context, client *clientv3.Client, random *rand.Rand) error {
	_, err := client.Put(ctx, key(random.Intn(*keys)), value)
	return err
}

func get(ctx context.Context, client *clientv3.Client, random *rand.Rand) error {
	_, err := client.Get(ctx, key(random.Intn(*keys)))
	return err
}

func serializable(ctx context.Context, client *clientv3.Client, random *rand.Rand) error {
	_, err := client.Get(ctx, key(random.Intn(*keys)), clientv3.WithSerializable())
	return err
}

func mixed(ctx context.Context, client *clientv3.Client, random *rand.Rand) error {
	if random.Intn(10) == 0 {
		return put(ctx, client, random)
	}
	return get(ctx, client, random)
}

func hundred(ctx context.Context, client *clientv3.Client, random *rand.Rand) error {
	first := clientv3.GetPrefixRangeEnd("/registry/pods/")
	_, err := client.Get(ctx, key(random.Intn(*keys)), clientv3.WithRange(first), clientv3.WithLimit(rangeLimit))
	return err
}

// As a controller writes: only where nobody else has written since.
func txn(ctx context.Context, client *clientv3.Client, random *rand.Rand) error {
	name := key(random.Intn(*keys))
	_, err := client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(name), ">", -1)).
		Then(clientv3.OpPut(name, value)).Else(clientv3.OpGet(name)).Commit()
	return err
}

var value string

var operations = map[string]operation{
	"put": put, "get": get, "serializable": serializable, "mixed": mixed, "range": hundred, "txn": txn,
}

type found struct {
	PerS   float64 `json:"per_s"`
	P50    int64   `json:"p50_us"`
	P99    int64   `json:"p99_us"`
	Failed int     `json:"failed"`
}

func connect() *clientv3.Client {
	client, err := clientv3.New(clientv3.Config{Endpoints: strings.Split(*endpoints, ","), DialTimeout: 10 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	return client
}

func connectAll(count int) []*clientv3.Client {
	all := make([]*clientv3.Client, count)
	for number := range all {
		all[number] = connect()
	}
	return all
}

// Calls do by all clients at once, and counts what began after the warm-up and ended in time.
func measure(connections []*clientv3.Client, do func(client int, random *rand.Rand) error) found {
	begin := time.Now().Add(warmUp)
	end := begin.Add(time.Duration(*seconds * float64(time.Second)))
	times, failed := make([][]int64, len(connections)), make([]int, len(connections))
	var all sync.WaitGroup
	for number := range connections {
		all.Add(1)
		go func(number int) {
			defer all.Done()
			random := rand.New(rand.NewSource(int64(number)))
			for {
				began := time.Now()
				if began.After(end) {
					return
				}
				err := do(number, random)
				ended := time.Now()
				if began.Before(begin) || ended.After(end) {
					continue
				}
				if err != nil {
					failed[number]++
				} else {
					times[number] = append(times[number], ended.Sub(began).Microseconds())
				}
			}
		}(number)
	}
	all.Wait()
	var result found
	var sorted []int64
	for number := range times {
		sorted = append(sorted, times[number]...)
		result.Failed += failed[number]
	}
	sort.Slice(sorted, func(a, b int) bool { return sorted[a] < sorted[b] })
	if len(sorted) > 0 {
		result.P50, result.P99 = sorted[len(sorted)/2], sorted[len(sorted)*99/100]
	}
	result.PerS = float64(len(sorted)) / *seconds
	return result
}

// One client writes one key, and all watch it; an operation is an event that one of them got.
func watch(ctx context.Context) found {
	connections := connectAll((*clients + streamsEach - 1) / streamsEach)
	counts := make([]int64, *clients)
	var running sync.WaitGroup
	watching, stop := context.WithCancel(ctx)
	var began time.Time
	var lock sync.RWMutex
	created := make(chan bool, *clients)
	for number := 0; number < *clients; number++ {
		events := connections[number/streamsEach].Watch(watching, watchedKey, clientv3.WithCreatedNotify())
		running.Add(1)
		go func(number int) {
			defer running.Done()
			for response := range events {
				if response.Created {
					created <- true
				}
				lock.RLock()
				if !began.IsZero() {
					counts[number] += int64(len(response.Events))
				}
				lock.RUnlock()
			}
		}(number)
	}
	for number := 0; number < *clients; number++ {
		<-created
	}
	writer := connect()
	end := time.Now().Add(warmUp + time.Duration(*seconds*float64(time.Second)))
	start := time.Now().Add(warmUp)
	var result found
	for time.Now().Before(end) {
		if began.IsZero() && time.Now().After(start) {
			lock.Lock()
			began = time.Now()
			lock.Unlock()
		}
		if _, err := writer.Put(ctx, watchedKey, value); err != nil {
			result.Failed++
		}
	}
	lock.Lock()
	took := time.Since(began).Seconds()
	began = time.Time{}
	lock.Unlock()
	stop()
	running.Wait()
	var events int64
	for _, count := range counts {
		events += count
	}
	result.PerS = float64(events) / took
	return result
}

func keepAlive(ctx context.Context, connections []*clientv3.Client) found {
	leases := make([]clientv3.LeaseID, len(connections))
	for number, client := range connections {
		lease, err := client.Grant(ctx, 600)
		if err != nil {
			log.Fatal(err)
		}
		leases[number] = lease.ID
	}
	return measure(connections, func(client int, random *rand.Rand) error {
		_, err := connections[client].KeepAliveOnce(ctx, leases[client])
		return err
	})
}

// Writes every key once, many at a time.
func fill(ctx context.Context) found {
	connections := connectAll(*clients)
	numbers := make(chan int, len(connections))
	began := time.Now()
	var all sync.WaitGroup
	for _, client := range connections {
		all.Add(1)
		go func(client *clientv3.Client) {
			defer all.Done()
			for first := range numbers {
				var puts []clientv3.Op
				for number := first; number < first+fillTogether && number < *keys; number++ {
					puts = append(puts, clientv3.OpPut(key(number), value))
				}
				if _, err := client.Txn(ctx).Then(puts...).Commit(); err != nil {
					log.Fatal(err)
				}
			}
		}(client)
	}
	for first := 0; first < *keys; first += fillTogether {
		numbers <- first
	}
	close(numbers)
	all.Wait()
	return found{PerS: float64(*keys) / time.Since(began).Seconds()}
}

func main() {
	flag.Parse()
	value = strings.Repeat("v", *bytes)
	ctx := context.Background()
	var result found
	switch *kind {
	case "watch":
		result = watch(ctx)
	case "fill":
		result = fill(ctx)
	case "keepalive":
		result = keepAlive(ctx, connectAll(*clients))
	default:
		do, known := operations[*kind]
		if !known {
			log.Fatalf("there is no load of the kind %q", *kind)
		}
		connections := connectAll(*clients)
		result = measure(connections, func(client int, random *rand.Rand) error {
			return do(ctx, connections[client], random)
		})
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		log.Fatal(err)
	}
}
