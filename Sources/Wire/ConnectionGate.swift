// Stands at the listening socket: counts the connections that are open and lets no more in than there may be. Those beyond
// wait in the kernel's queue and come in as others go.
//
// It must never spin: a socket that cannot be accepted for want of a descriptor stays readable.

import Glibc
package import Logging
package import NIOCore

/// What the system allows this process to open.
package enum OpenFiles {
  /// For the log, snapshots, databases and peers.
  private static let reserved = 256
  /// Beyond so many connections memory is what runs out.
  private static let mostConnections = 32_768

  private static var limits: rlimit {
    var limits = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limits)
    return limits
  }

  /// Raises the limit to what the process may give itself, as Go's runtime does for etcd.
  package static func raise() {
    var limits = Self.limits
    guard limits.rlim_cur < limits.rlim_max else { return }
    limits.rlim_cur = limits.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limits)
  }

  /// The connections that a server takes if it is not told: what can be opened, less a reserve.
  package static var connectionLimit: Int {
    let most = Int(min(Self.limits.rlim_cur, rlim_t(Self.mostConnections + Self.reserved)))
    return max(most - Self.reserved, most / 2)
  }
}

package final class ConnectionGate: ChannelInboundHandler {
  package typealias InboundIn = any Channel
  package typealias InboundOut = any Channel

  /// How long nothing is accepted when there was no descriptor, and how often idle connections are asked to go meanwhile.
  private static let pause = TimeAmount.seconds(1)
  /// One line for each so much time, however often the gate is shut in it.
  private static let quiet = TimeAmount.seconds(60)

  private let limit: Int
  private let logger: Logger
  /// Asks connections that do nothing to go.
  private let press: () -> Void
  private var openCount = 0
  private var isShut = false
  private var lastSaid: NIODeadline?

  package init(limit: Int, logger: Logger, press: @escaping () -> Void) {
    self.limit = limit
    self.logger = logger
    self.press = press
  }

  package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    self.openCount += 1
    let channel = self.unwrapInboundIn(data)
    channel.closeFuture.hop(to: context.eventLoop).assumeIsolated().whenComplete { _ in
      self.openCount -= 1
      if self.isShut, self.openCount == self.limit - 1 { self.open(context) }
    }
    if self.openCount >= self.limit {
      self.shut(context, "\(self.openCount) connections are open, the most that there may be; new ones wait")
    }
    context.fireChannelRead(data)
  }

  package func errorCaught(context: ChannelHandlerContext, error: any Error) {
    guard let error = error as? IOError, [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(error.errnoCode) else {
      return context.fireErrorCaught(error)
    }
    self.shut(context, "a connection cannot be accepted: \(error); the next try is in a second")
  }

  private func shut(_ context: ChannelHandlerContext, _ reason: String) {
    guard !self.isShut else { return }
    self.isShut = true
    let now = NIODeadline.now()
    if self.lastSaid.map({ now - $0 > Self.quiet }) ?? true {
      self.lastSaid = now
      self.logger.warning("\(reason)", metadata: ["connections": "\(self.openCount)"])
    }
    self.setReading(false, context)
    self.press()
    self.look(context)
  }

  /// Those that were busy a second ago may be idle now.
  private func look(_ context: ChannelHandlerContext) {
    _ = context.eventLoop.assumeIsolated().scheduleTask(in: Self.pause) {
      guard self.isShut, context.channel.isActive else { return }
      if self.openCount < self.limit { return self.open(context) }
      self.press()
      self.look(context)
    }
  }

  private func open(_ context: ChannelHandlerContext) {
    self.isShut = false
    self.setReading(true, context)
  }

  private func setReading(_ isReading: Bool, _ context: ChannelHandlerContext) {
    guard context.channel.isActive else { return }
    do {
      try context.channel.syncOptions?.setOption(.autoRead, value: isReading)
    } catch {
      self.logger.error(
        "the listening socket cannot be \(isReading ? "resumed" : "paused")", metadata: ["cause": "\(error)"])
    }
  }
}
