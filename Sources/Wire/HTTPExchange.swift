// One request of plain HTTP over HTTP/2, and its reply. etcd serves health, metrics and JSON over both versions on one
// port, and a client that TLS lets choose takes the newer one.
//
// Invariant: the exchange is over once, by its reply or by the loss of its stream.

import NIOCore
import NIOHPACK
import NIOHTTP2

/// Used on the connection's event loop alone.
final class HTTPExchange: HTTPBodySink {
  let streamID: HTTP2StreamID
  private let method: String
  private let path: String
  private let headers: [(String, String)]
  private let responder: HTTPResponder
  /// Nil once the exchange is over.
  private var connection: ServerConnection?
  private var body = ByteBuffer()
  private var isTooLarge = false
  /// The request may still go on.
  private(set) var isReceiving = true
  /// As its connection tells time.
  let openedAtLook: Int
  private var hasAnswered = false
  private var abandonment: HTTPAbandonment?
  private var writer: HTTPBodyWriter?
  /// Bytes of the reply that the kernel has not taken.
  private var queuedBytes = 0
  private var isBlocked = false

  init(streamID: HTTP2StreamID, headers: HPACKHeaders, connection: ServerConnection, responder: @escaping HTTPResponder)
  {
    self.streamID = streamID
    self.connection = connection
    self.openedAtLook = connection.account.look
    self.responder = responder
    var (method, path, rest): (String, String, [(String, String)]) = ("", "", [])
    for (name, value, _) in headers {
      switch name {
      case ":method": method = value
      case ":path": path = value
      case ":authority": rest.append(("host", value))
      default: if !name.hasPrefix(":") { rest.append((name, value)) }
      }
    }
    (self.method, self.path, self.headers) = (method, path, rest)
  }

  // MARK: The request

  func receive(_ bytes: ByteBuffer, isEnd: Bool) {
    guard let connection = self.connection, !self.hasAnswered else { return }
    if self.body.readableBytes + bytes.readableBytes > connection.limits.httpBodyBytes {
      self.isTooLarge = true
      self.body = ByteBuffer()
      if isEnd { self.isReceiving = false }
      let limit = connection.limits.httpBodyBytes
      return self.answer(HTTPReply(status: 413, text: "the request is larger than \(limit) bytes\n"))
    }
    self.body.writeImmutableBuffer(bytes)
    if isEnd { self.receiveEnd() }
  }

  /// The request is not whole in time.
  func runOutOfTime() {
    self.body = ByteBuffer()
    self.answer(HTTPReply(status: 408, text: "the request was not whole in time\n"))
  }

  /// Whether bytes of the reply wait for the peer.
  var isOwing: Bool { self.queuedBytes > 0 }

  func receiveEnd() {
    guard let connection = self.connection, self.isReceiving else { return }
    self.isReceiving = false
    guard !self.hasAnswered else { return }
    let request = HTTPRequest(method: self.method, path: self.path, headers: self.headers, body: self.body)
    self.body = ByteBuffer()
    self.abandonment = request.abandonment
    let eventLoop = connection.eventLoop
    self.responder(request, eventLoop).hop(to: eventLoop).assumeIsolated().whenComplete { result in
      self.abandonment?.handler = nil
      self.abandonment = nil
      switch result {
      case .success(let reply): self.answer(reply)
      case .failure(let error): self.answer(HTTPReply(status: 500, text: "\(error)\n"))
      }
    }
  }

  // MARK: The reply

  private func answer(_ reply: HTTPReply) {
    guard let connection = self.connection, !self.hasAnswered else { return }
    self.hasAnswered = true
    var headers: HPACKHeaders = [":status": String(reply.status), "content-type": reply.contentType]
    if reply.stream == nil { headers.add(name: "content-length", value: String(reply.body.readableBytes)) }
    for (name, value) in reply.extraHeaders { headers.add(name: name.lowercased(), value: value) }
    if let stream = reply.stream {
      connection.write(.headers(.init(headers: headers)), on: self.streamID)
      connection.flushSoon()
      let writer = HTTPBodyWriter(self)
      self.writer = writer
      return stream(writer)
    }
    guard self.method != "HEAD", reply.body.readableBytes > 0 else {
      return self.end(with: .headers(.init(headers: headers, endStream: true)))
    }
    connection.keepalive.sent(reply.body.readableBytes)
    connection.write(.headers(.init(headers: headers)), on: self.streamID)
    self.end(with: .data(.init(data: .byteBuffer(reply.body), endStream: true)))
  }

  private func end(with payload: HTTP2Frame.FramePayload) {
    guard let connection = self.connection else { return }
    self.connection = nil
    connection.finish(self)
    connection.sendTrailers(payload, on: self.streamID, isHalfClosed: !self.isReceiving)
  }

  var isWritable: Bool {
    guard let connection = self.connection else { return false }
    let isWritable = connection.isWritable && self.queuedBytes < connection.limits.streamQueueBytes
    if !isWritable { self.isBlocked = true }
    return isWritable
  }

  func write(_ piece: ByteBuffer, promise: EventLoopPromise<Void>?) {
    guard let connection = self.connection else {
      promise?.fail(ChannelError.ioOnClosedChannel)
      return
    }
    let size = piece.readableBytes
    connection.keepalive.sent(size)
    self.queuedBytes += size
    let sent = promise ?? connection.eventLoop.makePromise(of: Void.self)
    sent.futureResult.assumeIsolated().whenComplete { _ in
      self.queuedBytes -= size
      self.unblockIfPossible()
    }
    connection.write(.data(.init(data: .byteBuffer(piece))), on: self.streamID, promise: sent)
    connection.flushSoon()
  }

  func end() {
    self.writer = nil
    self.end(with: .data(.init(data: .byteBuffer(ByteBuffer()), endStream: true)))
  }

  /// Half of the queue must be free again, so that a writer is woken for more than one piece.
  func unblockIfPossible() {
    guard self.isBlocked, let connection = self.connection, connection.isWritable,
      self.queuedBytes <= connection.limits.streamQueueBytes / 2
    else { return }
    self.isBlocked = false
    self.writer?.onWritable?()
  }

  // MARK: The end

  /// The server is about to stop.
  func drain() { self.writer?.onDrain?() }

  /// The stream is gone before the reply was given whole.
  func close() {
    self.connection = nil
    self.abandonment?.happen()
    self.abandonment = nil
    let writer = self.writer
    self.writer = nil
    writer?.close()
  }
}
