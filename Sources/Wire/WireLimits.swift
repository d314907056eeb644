// Every bound of the room in one place.

package import NIOCore

/// What one end of a connection allows. The defaults are a server's; `client` has a client's.
package struct WireLimits: Sendable {
  /// The largest message taken. etcd takes requests of 1.5 MiB and leaves 512 KiB for what surrounds them.
  package var messageBytes = 1536 * 1024 + 512 * 1024
  /// The largest header list taken, counted as HTTP/2 counts it.
  package var headerListBytes = 16 * 1024
  /// Streams that the peer may have open at once on one connection.
  package var concurrentStreams = 16_384
  /// Calls that stream and are open at once, over all connections: they may stay open for ever.
  package var streamingCallsInAll = 250_000
  /// Bytes that the peer may send on one stream, and on the connection, before it must hear that they were taken.
  package var streamWindowBytes = 1024 * 1024
  package var connectionWindowBytes = 16 * 1024 * 1024
  /// Bytes that one stream may have waiting for its peer before it counts as not writable.
  package var streamQueueBytes = 256 * 1024
  /// Bytes handed to the kernel's door and not taken yet, between which the whole connection turns not writable.
  package var channelQueueLowBytes = 128 * 1024
  package var channelQueueHighBytes = 1024 * 1024
  /// Bytes that one stream may have waiting for its peer before it is given up: handlers stop at `streamQueueBytes`, but for
  /// the short answers that a peer can ask for without reading any.
  package var streamQueueHardBytes = 8 * 1024 * 1024
  /// The same for a connection's socket: the answers to calls that were refused, which no window holds back.
  package var channelQueueHardBytes = 16 * 1024 * 1024
  /// Bytes of requests that are not whole, of one connection and of all.
  package var unfinishedRequestBytes = 32 * 1024 * 1024
  package var unfinishedRequestBytesInAll = 512 * 1024 * 1024
  /// Bytes of large answers that a peer asked for and has not taken, of one connection and of all. One answer may exceed
  /// the first by itself.
  package var unreadAnswerBytes = 64 * 1024 * 1024
  package var unreadAnswerBytesInAll = 1024 * 1024 * 1024
  /// The largest body of an HTTP/1 request, and the most that its target and headers may have.
  package var httpBodyBytes = 2 * 1024 * 1024
  package var httpHeadBytes = 64 * 1024
  /// Requests of plain HTTP that one HTTP/2 connection may have open: each is held whole.
  package var httpExchanges = 32
  /// Connections that may be open at once. Beyond it new ones wait, and those that do nothing are asked to go.
  package var connections = OpenFiles.connectionLimit
  /// How long a new connection may stay silent: until its first bytes it cannot even be told what it speaks.
  package var firstBytesTimeout = TimeAmount.seconds(10)
  /// How long a request may take to be whole, and how long an HTTP/1 connection may wait for its next one.
  package var requestTimeout = TimeAmount.seconds(60)
  /// How long a peer may take less than `leastBytesTaken` of what waits for it.
  package var stalledTimeout = TimeAmount.minutes(3)
  package var leastBytesTaken = 16 * 1024
  /// How long an HTTP/2 connection may be without a call.
  package var idleTimeout = TimeAmount.minutes(30)
  /// How often a connection looks at these times.
  package var lookInterval = TimeAmount.seconds(5)
  /// How long a TLS handshake may take, from the accepted or made connection on.
  package var handshakeTimeout = TimeAmount.seconds(10)
  /// How long connecting may take.
  package var connectTimeout = TimeAmount.seconds(5)
  /// Resets, and pings with settings, that a peer may send in half a minute before it counts as an attack. Clients reset
  /// a stream for every call that ran into its deadline, and Go's ping as often as they read data, so both are well
  /// above what the HTTP/2 library allows by itself.
  package var resetsPerHalfMinute = 100_000
  package var controlFramesPerHalfMinute = 100_000
  /// A server's alone.
  package var keepalive = KeepalivePolicy()

  package init() {}

  /// A client reads what it asked for, so its answers may be far larger than a request.
  package static let client: WireLimits = {
    var limits = WireLimits()
    limits.messageBytes = 256 * 1024 * 1024
    return limits
  }()
}
