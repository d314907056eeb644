// Wire owns how bytes become calls: gRPC over HTTP/2 frames, plain HTTP/1 on the same port, and the client for both
// ends of a test or a cluster. It knows paths, metadata, messages as bytes and statuses. It must never know what a call
// means, and it must never block an event loop.
//
// gRPC is carried by one handler per connection that reads and writes HTTP/2 frames itself. A channel for every stream,
// which is the usual way, costs several times as much per call as the call is worth here.
//
// Invariants:
// - Everything that belongs to a connection is touched on that connection's event loop only.
// - A call is answered at most once; what comes after the answer is dropped.
// - Bytes that wait for a slow peer are bounded by flow control and by `WireLimits`.
// - Replies made in one turn of the event loop leave in one write.
