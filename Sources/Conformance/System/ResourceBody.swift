// What the bodies of a gateway's answers say: rqlite's shapes, and problem details.

import Foundation

extension ResourceAnswer {
  /// The last part of a problem's type, such as `stale-token`.
  package var problem: String? {
    struct Problem: Decodable { let type: String }
    guard status != 200, let problem = try? JSONDecoder().decode(Problem.self, from: Data(body.utf8)) else {
      return nil
    }
    return problem.type.split(separator: ":").last.map(String.init)
  }

  /// What SQLite said of the first statement that failed.
  package var statementError: String? { results.lazy.compactMap(\.error).first }

  /// The rows of the last query of the answer, each value as text; NULL is nil.
  package var rows: [[String?]] {
    (results.last { $0.values != nil }?.values ?? []).map { row in row.map(\.text) }
  }

  /// The only value of the only row, as text.
  package var value: String? { text ?? rows.first?.first ?? nil }

  /// For messages.
  package var summary: String { "\(status) \(body.prefix(400))" }

  private struct Answer: Decodable { let results: [Result]? }

  private struct Result: Decodable {
    let error: String?
    let values: [[Value]]?
  }

  private struct Value: Decodable {
    let text: String?

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if container.decodeNil() {
        text = nil
      } else if let number = try? container.decode(Int64.self) {
        text = "\(number)"
      } else if let number = try? container.decode(Double.self) {
        text = "\(number)"
      } else {
        text = try container.decode(String.self)
      }
    }
  }

  private var results: [Result] {
    (try? JSONDecoder().decode(Answer.self, from: Data(body.utf8)))?.results ?? []
  }
}
