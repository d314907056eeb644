// A server's side of TLS: what an accepted connection goes through before anything else sees its bytes.
//
//   socket · HandshakeGuard · TLS · TLSServerGate · what speaks behind it
//
// The guard and the gate leave when the handshake is over.

package import Logging
package import NIOCore
import NIOSSL
import NIOTLS

package struct TLSAcceptor: Sendable {
  private let source: TLSSource
  private let timeout: TimeAmount
  private let answersHTTP: Bool
  private let log: LimitedLog

  /// - Parameter answersHTTP: whether those that speak plain text are to be answered in HTTP.
  package init(_ source: TLSSource, limits: WireLimits, answersHTTP: Bool, logger: Logger) {
    self.source = source
    self.timeout = limits.handshakeTimeout
    self.answersHTTP = answersHTTP
    self.log = LimitedLog(logger)
  }

  /// Prepares an accepted connection, on its event loop, in its initializer.
  /// - Parameter open: adds what speaks behind TLS, once the handshake is over and the other end was let in. It gets the
  ///   certificate of the other end where one is asked for.
  package func secure(
    _ channel: any Channel, open: @escaping @Sendable (any Channel, PeerCertificate?) throws -> Void
  ) -> EventLoopFuture<Void> {
    let (source, log) = (self.source, self.log)
    let origin = channel.origin
    let guardian = HandshakeGuard(
      timeout: self.timeout, answersHTTP: self.answersHTTP,
      events: HandshakeGuard.Events(
        timedOut: { [timeout] in
          let milliseconds = timeout.nanoseconds / 1_000_000
          log.warning("a TLS handshake was not over within \(milliseconds) ms", metadata: ["from": "\(origin)"])
        },
        plainText: {
          log.warning("a connection in plain text to a port that speaks TLS", metadata: ["from": "\(origin)"])
        }))
    do {
      try channel.pipeline.syncOperations.addHandler(guardian)
    } catch {
      return channel.eventLoop.makeFailedFuture(error)
    }
    let bound = NIOLoopBound(guardian, eventLoop: channel.eventLoop)
    return source.context(on: channel.eventLoop).flatMapThrowing { context in
      let gate = TLSServerGate(settings: source.settings, guardian: bound.value, log: log, origin: origin, open: open)
      let handler = NIOSSLServerHandler(context: context)
      gate.handler = handler
      try channel.pipeline.syncOperations.addHandlers([handler, gate])
    }
  }
}

extension Channel {
  /// Where the other end is, for logs.
  var origin: String {
    guard let address = self.remoteAddress, let ip = address.ipAddress else { return "unknown" }
    return "\(ip):\(address.port ?? 0)"
  }
}

/// Waits for the end of the handshake and looks at who came.
final class TLSServerGate: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer

  private let settings: TLSSettings
  private let guardian: HandshakeGuard
  private let log: LimitedLog
  private let origin: String
  private let open: @Sendable (any Channel, PeerCertificate?) throws -> Void
  /// Of the same pipeline.
  weak var handler: NIOSSLServerHandler?
  private var isOver = false

  init(
    settings: TLSSettings, guardian: HandshakeGuard, log: LimitedLog, origin: String,
    open: @escaping @Sendable (any Channel, PeerCertificate?) throws -> Void
  ) {
    self.settings = settings
    self.guardian = guardian
    self.log = log
    self.origin = origin
    self.open = open
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case .handshakeCompleted? = event as? TLSUserEvent { self.completed(context) }
    if event is ChannelShouldQuiesceEvent { context.close(promise: nil) }
    context.fireUserInboundEventTriggered(event)
  }

  private func completed(_ context: ChannelHandlerContext) {
    guard !self.isOver else { return }
    self.isOver = true
    // Verified by the library, for only a server that asks for a certificate gets one.
    let certificate =
      self.settings.trustedCAFile == nil ? nil : self.handler?.peerCertificate.flatMap(PeerCertificate.init)
    let mayCome = self.settings.takesClientsWithoutCertificate && self.handler?.peerCertificate == nil
    if self.settings.trustedCAFile != nil, !mayCome {
      guard let certificate else { return self.refuse("its certificate cannot be read", context) }
      if let reason = certificate.refusal(by: self.settings) { return self.refuse(reason, context) }
    }
    do {
      try self.open(context.channel, certificate)
    } catch {
      context.fireErrorCaught(error)
      return context.close(promise: nil)
    }
    context.pipeline.syncOperations.removeHandler(self.guardian, promise: nil)
    context.pipeline.syncOperations.removeHandler(self, promise: nil)
  }

  private func refuse(_ reason: String, _ context: ChannelHandlerContext) {
    self.log.warning("a connection is refused: \(reason)", metadata: ["from": "\(self.origin)"])
    context.close(promise: nil)
  }

  /// What comes before the gate is gone comes from somebody who was not let in.
  func channelRead(context: ChannelHandlerContext, data: NIOAny) {}

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    defer { context.close(promise: nil) }
    guard !self.isOver else { return }
    self.isOver = true
    // Who only knocked, as a load balancer does, said nothing that could be wrong.
    guard let failure = TLSError(error, .server, presented: self.handler?.peerCertificate), failure.code != .incomplete
    else { return }
    self.log.warning("a TLS handshake failed: \(failure)", metadata: ["from": "\(self.origin)"])
  }
}
