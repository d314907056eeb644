// The API as JSON, as curl and etcd's gateway have it.

import Foundation
import FoundationNetworking
import Testing

@Suite("the API as JSON over HTTP", .serialized)
struct JSONTests {
  @Test("keys: base64 and numbers as strings, in etcd's names")
  func keys() async throws {
    try await withNode { api in
      let put = try await api.post("/v3/kv/put", #"{"key":"Zm9v","value":"YmFy"}"#)
      #expect(put.status == 200)
      let header = try #require(put.object["header"] as? [String: String])
      #expect(header["revision"] == "2" && header["cluster_id"] != nil && header["member_id"] != nil)
      let range = try await api.post("/v3/kv/range", #"{"key":"Zm9v"}"#)
      let found = try #require((range.object["kvs"] as? [[String: String]])?.first)
      #expect(
        found == ["key": "Zm9v", "value": "YmFy", "create_revision": "2", "mod_revision": "2", "version": "1"])
      #expect(range.object["count"] as? String == "1")
      let transaction = try await api.post(
        "/v3/kv/txn",
        #"""
        {"compare":[{"result":"EQUAL","target":"VERSION","key":"Zm9v","version":"1"}],
         "success":[{"requestPut":{"key":"Zm9v","value":"Yg=="}},{"request_delete_range":{"key":"bm9uZQ=="}}]}
        """#)
      #expect(transaction.object["succeeded"] as? Bool == true)
      #expect(
        (transaction.object["responses"] as? [[String: Any]])?.map(\.keys.first) == [
          "response_put", "response_delete_range",
        ])
    }
  }

  @Test("errors: etcd's text and gRPC's code, under a fitting status")
  func errors() async throws {
    try await withNode { api in
      let future = try await api.post("/v3/kv/range", #"{"key":"Zm9v","revision":"99"}"#)
      #expect(future.status == 400 && future.object["code"] as? Int == 11)
      #expect(future.object["error"] as? String == "etcdserver: mvcc: required revision is a future revision")
      #expect(future.object["message"] as? String == future.object["error"] as? String)
      #expect(try await api.post("/v3/kv/put", "{}").status == 400)
      #expect(try await api.post("/v3/kv/put", #"{"no_such_field":1}"#).object["code"] as? Int == 3)
      #expect(try await api.post("/v3/kv/put", "not JSON").object["code"] as? Int == 3)
      #expect(try await api.post("/v3/no/such/path", "{}").status == 404)
      #expect(try await api.send("GET", "/v3/kv/range", "").status == 405)
      #expect(try await api.post("/v3/lease/revoke", #"{"ID":"4711"}"#).status == 404)
    }
  }

  @Test("leases, members, maintenance, locks and elections")
  func services() async throws {
    try await withNode { api in
      let lease = try await api.post("/v3/lease/grant", #"{"TTL":"60","ID":"0"}"#).object["ID"] as? String ?? ""
      #expect(Int64(lease) ?? 0 > 0)
      let alive = try await api.post("/v3/lease/timetolive", #"{"ID":"\#(lease)","keys":true}"#)
      #expect(alive.object["grantedTTL"] as? String == "60")
      #expect(try await api.post("/v3/cluster/member/list", "").object["members"] is [Any])
      #expect(try await api.post("/v3/maintenance/status", "").object["version"] is String)
      #expect(try await api.post("/v3/maintenance/hash", "{}").object["hash_revision"] as? String == "1")
      let lock = try await api.post("/v3/lock/lock", #"{"name":"bG9jaw==","lease":"\#(lease)"}"#)
      let key = try #require(lock.object["key"] as? String)
      #expect(try await api.post("/v3/lock/unlock", #"{"key":"\#(key)"}"#).status == 200)
      let won = try await api.post("/v3/election/campaign", #"{"name":"ZQ==","lease":"\#(lease)","value":"bWU="}"#)
      #expect((won.object["leader"] as? [String: String])?["lease"] == lease)
      let leader = try await api.post("/v3/election/leader", #"{"name":"ZQ=="}"#)
      #expect((leader.object["kv"] as? [String: String])?["value"] == "bWU=")
    }
  }

  @Test("a watch is a stream of lines, and ends where nobody listens any more")
  func watch() async throws {
    try await withNode { api in
      var lines = try await api.stream(
        "/v3/watch", #"{"create_request":{"key":"dw=="}} {"create_request":{"key":"dg=="}}"#)
      for watch in [nil, "1"] {
        let created = try #require(try await lines.next())
        #expect(created["created"] as? Bool == true && created["watch_id"] as? String == watch)
      }
      _ = try await api.post("/v3/kv/put", #"{"key":"dw==","value":"MQ=="}"#)
      _ = try await api.post("/v3/kv/deleterange", #"{"key":"dw=="}"#)
      let put = try #require(try await lines.next())
      let events = try #require(put["events"] as? [[String: Any]])
      #expect((events.first?["kv"] as? [String: String])?["value"] == "MQ==")
      let deleted = try #require(try await lines.next())
      #expect((deleted["events"] as? [[String: Any]])?.first?["type"] as? String == "DELETE")
      let alive = try await api.stream("/v3/lease/keepalive", #"{"ID":"4711"}"#)
      var answers = alive
      #expect(try await answers.next()?["ID"] as? String == "4711", "a lease that is not there has no time to live")
    }
  }

  @Test("a caller that goes away while it waits for a lock leaves the line")
  func abandoned() async throws {
    try await withNode { api in
      func lease() async throws -> String {
        try await api.post("/v3/lease/grant", #"{"TTL":"60"}"#).object["ID"] as? String ?? ""
      }
      func waiting() async throws -> String? {
        try await api.post("/v3/kv/range", #"{"key":"bA==","range_end":"bQ==","count_only":true}"#).object["count"]
          as? String
      }
      let (first, second) = (try await lease(), try await lease())
      let held = try await api.post("/v3/lock/lock", #"{"name":"bA==","lease":"\#(first)"}"#)
      let caller = Task { _ = try await api.post("/v3/lock/lock", #"{"name":"bA==","lease":"\#(second)"}"#) }
      while try await waiting() != "2" { try Task.checkCancellation() }
      caller.cancel()
      while try await waiting() != "1" { try Task.checkCancellation() }
      let key = try #require(held.object["key"] as? String)
      #expect(try await api.post("/v3/lock/unlock", #"{"key":"\#(key)"}"#).status == 200)
      #expect(try await waiting() == nil, "nobody took the lock over")
    }
  }

  private func withNode(_ body: (JSONCalls) async throws -> Void) async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    try await body(JSONCalls(endpoint: nodes.client("a")))
    await nodes.stop()
  }
}

struct JSONCalls {
  struct Answer {
    let status: Int
    let object: [String: Any]
  }

  /// What a stream sends, a line at a time.
  struct Lines {
    var iterator: AsyncThrowingStream<Data, any Error>.AsyncIterator
    var rest = Data()

    mutating func next() async throws -> [String: Any]? {
      while true {
        if let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
          let line = rest[rest.startIndex..<end]
          rest = Data(rest[(end + 1)...])
          return (try JSONSerialization.jsonObject(with: line) as? [String: Any])?["result"] as? [String: Any]
        }
        guard let more = try await iterator.next() else { return nil }
        rest += more
      }
    }
  }

  let endpoint: String

  func post(_ path: String, _ body: String) async throws -> Answer { try await send("POST", path, body) }

  func send(_ method: String, _ path: String, _ body: String) async throws -> Answer {
    let (data, response) = try await URLSession.shared.data(for: request(method, path, body))
    let object = try? JSONSerialization.jsonObject(with: data) as? [String: Any]
    return Answer(status: (response as? HTTPURLResponse)?.statusCode ?? 0, object: object ?? [:])
  }

  func stream(_ path: String, _ body: String) async throws -> Lines {
    let listener = Listener()
    let session = URLSession(configuration: .ephemeral, delegate: listener, delegateQueue: nil)
    session.dataTask(with: request("POST", path, body)).resume()
    return Lines(iterator: listener.pieces.makeAsyncIterator())
  }

  private func request(_ method: String, _ path: String, _ body: String) -> URLRequest {
    var request = URLRequest(url: URL(string: "http://\(endpoint)\(path)")!)
    request.httpMethod = method
    if !body.isEmpty { request.httpBody = Data(body.utf8) }
    return request
  }

  private final class Listener: NSObject, URLSessionDataDelegate {
    let pieces: AsyncThrowingStream<Data, any Error>
    private let feed: AsyncThrowingStream<Data, any Error>.Continuation

    override init() { (pieces, feed) = AsyncThrowingStream.makeStream() }

    func urlSession(_ session: URLSession, dataTask: URLSessionDataTask, didReceive data: Data) { feed.yield(data) }

    func urlSession(_ session: URLSession, task: URLSessionTask, didCompleteWithError error: (any Error)?) {
      feed.finish(throwing: error)
    }
  }
}
