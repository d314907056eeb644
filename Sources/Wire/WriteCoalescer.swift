// Gathers the many small buffers of HTTP/2 frames into one, so that a turn of the event loop ends in one write call
// with one piece of memory. It sits next to the socket and never reorders or holds anything beyond a flush.

import NIOCore

final class WriteCoalescer: ChannelOutboundHandler {
  typealias OutboundIn = IOData
  typealias OutboundOut = IOData

  /// Buffers from this size on are passed as they are: copying them would cost more than a second piece in the write.
  private static let copyLimitBytes = 16 * 1024
  /// What is gathered before it is passed on without a flush.
  private static let gatherLimitBytes = 256 * 1024

  /// Bytes that were passed on since the connection began.
  private(set) var passedBytes = 0
  private var gathered = ByteBuffer()
  /// Completes with the write that carries the gathered bytes.
  private var promise: EventLoopPromise<Void>?

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    guard case .byteBuffer(let bytes) = self.unwrapOutboundIn(data), bytes.readableBytes < Self.copyLimitBytes else {
      self.passGathered(context: context)
      if case .byteBuffer(let bytes) = self.unwrapOutboundIn(data) { self.passedBytes += bytes.readableBytes }
      context.write(data, promise: promise)
      return
    }
    self.gathered.writeImmutableBuffer(bytes)
    self.promise.setOrCascade(to: promise)
    if self.gathered.readableBytes >= Self.gatherLimitBytes {
      self.passGathered(context: context)
    }
  }

  func flush(context: ChannelHandlerContext) {
    guard self.gathered.readableBytes > 0 else {
      context.flush()
      return
    }
    // A flush can turn the channel writable and so bring more writes while it runs; they find an empty buffer.
    var leaving = self.gathered
    self.gathered = ByteBuffer()
    let promise = self.promise
    self.promise = nil
    self.passedBytes += leaving.readableBytes
    context.write(self.wrapOutboundOut(.byteBuffer(leaving)), promise: promise)
    context.flush()
    if self.gathered.readableBytes == 0, leaving.capacity <= Self.gatherLimitBytes {
      // The kernel usually took all of it, and then the memory is free to be used again.
      leaving.clear()
      self.gathered = leaving
    }
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    self.promise?.fail(ChannelError.ioOnClosedChannel)
    self.promise = nil
  }

  private func passGathered(context: ChannelHandlerContext) {
    guard self.gathered.readableBytes > 0 else { return }
    let leaving = self.gathered
    self.gathered = ByteBuffer()
    let promise = self.promise
    self.promise = nil
    self.passedBytes += leaving.readableBytes
    context.write(self.wrapOutboundOut(.byteBuffer(leaving)), promise: promise)
  }
}
