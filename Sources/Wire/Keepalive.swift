// Owns the two rules of gRPC about pings at a server: it finds out whether a silent client is still there, and it hangs up on
// one that pings too often.

package import NIOCore
import NIOHTTP2

/// The defaults are etcd's.
package struct KeepalivePolicy: Sendable {
  /// A connection on which nothing came for this long is pinged; nil for never.
  package var interval: TimeAmount? = .hours(2)
  /// What the client then has to send anything; nil to wait for ever.
  package var timeout: TimeAmount? = .seconds(20)
  /// How far apart a client's own pings have to be while it has calls open; nil for any.
  package var minimumClientInterval: TimeAmount? = .seconds(5)

  package init() {}
}

/// The state of one connection. Used on its event loop alone.
struct Keepalive {
  /// As gRPC's servers count: the third ping that comes too soon is one too many.
  private static let maxStrikes = 2
  /// How far apart the pings of a client without open calls have to be.
  private static let idleClientInterval = TimeAmount.hours(2)

  let policy: KeepalivePolicy
  /// Set by whatever is read; looked at, and taken back, by the timer.
  var hasRead = true
  /// Pings that what was sent makes up for. Clients measure the bandwidth with pings of their own while they get something:
  /// of a large answer one for each piece of it, which leaves as the peer's windows let it.
  private var allowance = 1
  private static let pieceBytes = 16 * 1024
  private static let maxAllowance = 1 << 20
  private var strikes = 0
  private var lastPing: NIODeadline?

  init(_ policy: KeepalivePolicy) {
    self.policy = policy
  }

  /// Something of a call was sent.
  mutating func sent(_ bytes: Int) {
    allowance = min(allowance + 1 + bytes / Self.pieceBytes, Self.maxAllowance)
  }

  /// Whether a ping that came now is to be the connection's last.
  mutating func isTooMany(at now: NIODeadline, hasCalls: Bool) -> Bool {
    guard let interval = policy.minimumClientInterval else { return false }
    defer { lastPing = now }
    if allowance > 0 {
      allowance -= 1
      strikes = 0
      return false
    }
    guard let lastPing, lastPing + (hasCalls ? interval : max(interval, Self.idleClientInterval)) > now else {
      return false
    }
    strikes += 1
    return strikes > Self.maxStrikes
  }
}

// MARK: - What a connection does about it

extension ServerConnection {
  /// Looks once an interval whether something has come since the last look, and asks if nothing has.
  func lookAfterSilence() {
    guard let interval = self.limits.keepalive.interval else { return }
    self.keepalive.hasRead = false
    self.keepaliveTimer = self.eventLoop.assumeIsolated().scheduleTask(in: interval) { [weak self] in
      guard let self, self.context != nil else { return }
      if self.keepalive.hasRead { self.lookAfterSilence() } else { self.askForLife(interval) }
    }
  }

  private func askForLife(_ interval: TimeAmount) {
    self.write(.ping(HTTP2PingData(withInteger: 0), ack: false), on: .rootStream)
    self.flushSoon()
    guard let timeout = self.limits.keepalive.timeout else { return self.lookAfterSilence() }
    self.awaitLife(for: timeout, lookingEvery: interval)
  }

  private func awaitLife(for remaining: TimeAmount, lookingEvery interval: TimeAmount) {
    let step = min(interval, remaining)
    self.keepaliveTimer = self.eventLoop.assumeIsolated().scheduleTask(in: step) { [weak self] in
      guard let self, let context = self.context else { return }
      if self.keepalive.hasRead { return self.lookAfterSilence() }
      if step < remaining { return self.awaitLife(for: remaining - step, lookingEvery: interval) }
      self.logger.debug("a client does not answer pings any more")
      context.close(promise: nil)
    }
  }

  /// In gRPC's words, by which clients know to ping less.
  func endOverPings() {
    guard let context = self.context, !self.isClosing else { return }
    self.isClosing = true
    let promise = self.eventLoop.makePromise(of: Void.self)
    promise.futureResult.assumeIsolated().whenComplete { _ in context.close(promise: nil) }
    self.write(
      .goAway(
        lastStreamID: self.highestStreamID, errorCode: .enhanceYourCalm,
        opaqueData: ByteBuffer(string: "too_many_pings")),
      on: .rootStream, promise: promise)
    context.flush()
  }
}
