// A client's side of TLS. The server's name is sent (SNI) and its certificate must be for that name; for an address, the
// certificate must be for the address that was connected to.

package import NIOCore
import NIOSSL
import NIOTLS

package struct TLSConnector: Sendable {
  private let source: TLSSource
  private let timeout: TimeAmount

  package init(_ source: TLSSource, limits: WireLimits = .client) {
    self.source = source
    self.timeout = limits.handshakeTimeout
  }

  /// Prepares a connection that is about to be made, on its event loop, in its initializer.
  package func prepare(_ channel: any Channel, host: String) -> EventLoopFuture<Void> {
    let (source, timeout) = (self.source, self.timeout)
    return source.context(on: channel.eventLoop).flatMapThrowing { context in
      let name = IPAddressBytes.of(host) == nil ? host : nil
      let handler: NIOSSLClientHandler
      do {
        handler = try NIOSSLClientHandler(context: context, serverHostname: name)
      } catch {
        throw TLSError(error, .client) ?? error
      }
      let gate = TLSClientGate(settings: source.settings, timeout: timeout, eventLoop: channel.eventLoop)
      gate.handler = handler
      try channel.pipeline.syncOperations.addHandlers([handler, gate])
    }
  }

  /// Completes when both ends have agreed, with a `TLSError` when they did not. Called on the event loop, for a connection
  /// that was prepared.
  package func secured(_ channel: any Channel) -> EventLoopFuture<Void> {
    do {
      return try channel.pipeline.syncOperations.handler(type: TLSClientGate.self).secured.futureResult
    } catch {
      return channel.eventLoop.makeFailedFuture(TLSError(.incomplete, "the server hung up"))
    }
  }
}

/// Waits for the end of the handshake. It stays in its place, and puts errors of TLS that come later into words: with TLS
/// 1.3 a server refuses a client's certificate when the client's own handshake is over.
final class TLSClientGate: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer

  let secured: EventLoopPromise<Void>
  private let settings: TLSSettings
  private let timeout: TimeAmount
  weak var handler: NIOSSLClientHandler?
  private var timer: Scheduled<Void>?
  private var isOver = false

  init(settings: TLSSettings, timeout: TimeAmount, eventLoop: any EventLoop) {
    self.settings = settings
    self.timeout = timeout
    self.secured = eventLoop.makePromise()
  }

  func channelActive(context: ChannelHandlerContext) {
    self.timer = context.eventLoop.assumeIsolated().scheduleTask(in: self.timeout) {
      let milliseconds = self.timeout.nanoseconds / 1_000_000
      self.fail(TLSError(.incomplete, "the TLS handshake was not over within \(milliseconds) ms"), context)
    }
    context.fireChannelActive()
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case .handshakeCompleted? = event as? TLSUserEvent, !self.isOver {
      let isAnybody = self.settings.allowedCommonName == nil && self.settings.allowedHostname == nil
      let certificate = isAnybody ? nil : self.handler?.peerCertificate.flatMap(PeerCertificate.init)
      if !isAnybody, certificate?.refusal(by: self.settings) != nil || certificate == nil {
        let reason = certificate?.refusal(by: self.settings) ?? "its certificate cannot be read"
        return self.fail(TLSError(.untrusted, "the server is refused: \(reason)"), context)
      }
      self.isOver = true
      self.timer?.cancel()
      self.secured.succeed()
    }
    context.fireUserInboundEventTriggered(event)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    guard !self.isOver else { return context.fireErrorCaught(TLSError(error, .client) ?? error) }
    let failure = TLSError(error, .client, presented: self.handler?.peerCertificate)
    self.fail(failure ?? TLSError(.incomplete, "the connection failed: \(error)"), context)
  }

  func channelInactive(context: ChannelHandlerContext) {
    if !self.isOver {
      self.fail(TLSError(.incomplete, "the server hung up during the TLS handshake (does it speak TLS?)"), context)
    }
    context.fireChannelInactive()
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    self.timer?.cancel()
    // A connection that was prepared and never made.
    if !self.isOver { self.secured.fail(ChannelError.ioOnClosedChannel) }
  }

  private func fail(_ error: TLSError, _ context: ChannelHandlerContext) {
    self.isOver = true
    self.timer?.cancel()
    self.secured.fail(error)
    context.close(promise: nil)
  }
}
