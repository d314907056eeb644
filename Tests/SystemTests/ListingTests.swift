// A list that is larger than any answer may be, and what it costs the server.

import Client
import Foundation
import Glibc
import NIOCore
import Protocol
import Synchronization
import Testing
import Wire

@Suite("listing a large range", .serialized)
struct ListingTests {
  /// 768 MiB are more than a Range may answer with. PORTCULLIS_LIST_MIB asks for another size.
  private static let mebibytes = ProcessInfo.processInfo.environment["PORTCULLIS_LIST_MIB"].flatMap { Int($0) } ?? 768

  @Test("all of it comes at one revision while the server grows by less than 64 MiB; a Range over it is refused")
  func large() async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    let caller = try Caller(nodes.endpoints)
    try await fill(caller)
    let values = Self.mebibytes * 4
    if Self.mebibytes >= 520 {
      await #expect { _ = try await caller.everything() } throws: {
        ($0 as? RPCStatus)?.code == .resourceExhausted
      }
    }
    let process = try nodes.program("a").processID
    let before = try memory(of: process)
    let list = Counter(process)
    try await withConnection(nodes.client("a")) { connection in
      var request = Portcullis_V1_ListRequest()
      (request.key, request.rangeEnd) = (Data("fill/".utf8), Data("fill0".utf8))
      let stream = connection.openStream(RPCPath.Listing.list, handler: list)
      try stream.send(request)
      let status = await list.end()
      #expect(status.code == .ok, "\(status)")
    }
    let seen = list.seen
    #expect(seen.count == values && seen.announced == Int64(values) && seen.revisions.count == 1)
    #expect(seen.bytes == values * 256 << 10)
    let growth = (seen.peak - before) >> 10
    #expect(growth < 64, "the server grew by \(growth) MiB")
    print("listed \(Self.mebibytes) MiB; the server had \(before >> 10) MiB before and grew by \(growth) MiB")
    caller.close()
    await nodes.stop()
  }

  @Test("over JSON it is a line for each page")
  func json() async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    let caller = try Caller(nodes.endpoints)
    for index in 0..<100 { try await caller.put("key \(index + 100)", Data(repeating: 1, count: 500)) }
    caller.close()
    var lines = try await JSONCalls(endpoint: nodes.client("a")).stream(
      "/portcullis/v1/listing/list", #"{"key":"a2V5","range_end":"AA==","page_bytes":4096}"#)
    var (pages, keys, count) = (0, 0, "")
    while let line = try await lines.next() {
      pages += 1
      keys += (line["kvs"] as? [Any])?.count ?? 0
      if let end = line["end"] as? [String: Any] { count = end["count"] as? String ?? "" }
    }
    #expect(pages > 10 && keys == 100 && count == "100")
    await nodes.stop()
  }

  /// From several callers at once, so that it does not take all day.
  private func fill(_ caller: Caller) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      let share = Self.mebibytes
      for part in 0..<4 { group.addTask { try await caller.fill(share, from: part * share) } }
      try await group.waitForAll()
    }
  }

  /// What a process has in memory now, in KiB.
  private func memory(of process: pid_t) throws -> Int { try Counter.memory(of: process) }

  /// Counts what comes, and looks at the server's memory meanwhile.
  private final class Counter: ClientStreamHandler {
    struct Seen {
      var count = 0
      var bytes = 0
      var revisions: Set<Int64> = []
      var announced: Int64 = -1
      var peak = 0
      var pages = 0
    }

    private let process: pid_t
    private let state = Mutex(Seen())
    private let ends: AsyncStream<RPCStatus>
    private let feed: AsyncStream<RPCStatus>.Continuation

    init(_ process: pid_t) {
      self.process = process
      (ends, feed) = AsyncStream.makeStream()
    }

    var seen: Seen { state.withLock { $0 } }

    static func memory(of process: pid_t) throws -> Int {
      let status = try String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)
      let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
      return try #require(line.flatMap { Int($0.split(whereSeparator: \.isWhitespace)[1]) })
    }

    func received(_ message: ByteBuffer) {
      guard let page = try? Portcullis_V1_ListResponse(received: message) else { return }
      state.withLock { seen in
        seen.count += page.kvs.count
        seen.bytes += page.kvs.reduce(0) { $0 + $1.value.count }
        seen.revisions.insert(page.revision)
        if page.hasEnd { seen.announced = page.end.count }
        seen.pages += 1
        if seen.pages % 64 == 0, let now = try? Self.memory(of: process) { seen.peak = max(seen.peak, now) }
      }
    }

    func closed(_ status: RPCStatus) {
      feed.yield(status)
      feed.finish()
    }

    func end() async -> RPCStatus {
      var iterator = ends.makeAsyncIterator()
      return await iterator.next() ?? RPCStatus(.unknown, "no end")
    }
  }
}
