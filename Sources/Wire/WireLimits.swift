// Every bound of the room in one place.

package import NIOCore

/// What one end of a connection allows. The defaults are a server's; `client` has a client's.
package struct WireLimits: Sendable {
  /// The largest message taken. etcd takes requests of 1.5 MiB and leaves 512 KiB for what surrounds them.
  package var messageBytes = 1536 * 1024 + 512 * 1024
  /// The largest header list taken, counted as HTTP/2 counts it.
  package var headerListBytes = 16 * 1024
  /// Streams that the peer may have open at once on one connection.
  package var concurrentStreams = 65_536
  /// Bytes that the peer may send on one stream, and on the connection, before it must hear that they were taken.
  package var streamWindowBytes = 1024 * 1024
  package var connectionWindowBytes = 16 * 1024 * 1024
  /// Bytes that one stream may have waiting for its peer before it counts as not writable.
  package var streamQueueBytes = 256 * 1024
  /// Bytes handed to the kernel's door and not taken yet, between which the whole connection turns not writable.
  package var channelQueueLowBytes = 128 * 1024
  package var channelQueueHighBytes = 1024 * 1024
  /// The largest body of an HTTP/1 request.
  package var httpBodyBytes = 2 * 1024 * 1024
  /// How long a new connection may stay silent: until its first bytes it cannot even be told what it speaks.
  package var firstBytesTimeout = TimeAmount.seconds(10)
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
