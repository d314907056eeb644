// Owns the JSON form of a profile: names in snake case, the schema stated, one line for each cell.
//
// It must never read a file of a schema that it does not know as if it did.

import FoundationEssentials

/// Why a file is no profile that this version can read.
package struct ProfileFileError: Error, Sendable, Equatable, CustomStringConvertible {
  package var description: String
}

extension FlushProfile {
  /// All of it, without a line break at its end. A cell has hundreds of numbers, which stay on its line.
  package func json() throws -> String {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    var rest = self
    rest.series = []
    let head = String(decoding: try encoder.encode(rest), as: UTF8.self)
    let cells = try series.map { String(decoding: try encoder.encode($0), as: UTF8.self) }
    guard !cells.isEmpty else { return head }
    return head.replacing(
      "\"series\":[]", with: "\n\"series\":[\n\(cells.joined(separator: ",\n"))\n]\n", maxReplacements: 1)
  }

  /// Reads what ``json()`` wrote.
  package init(json text: String) throws(ProfileFileError) {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    let data = Data(text.utf8)
    do {
      // The schema is looked at by itself first, so that a file of another one is named as such and not as broken.
      let schema = try decoder.decode(SchemaOnly.self, from: data).schema
      guard schema == Self.currentSchema else {
        throw ProfileFileError(
          description: "the file has the schema \"\(schema)\"; this version reads \"\(Self.currentSchema)\" only")
      }
      self = try decoder.decode(FlushProfile.self, from: data)
    } catch let error as ProfileFileError {
      throw error
    } catch {
      throw ProfileFileError(description: "this is no profile of a disk: \(error)")
    }
  }
}

private struct SchemaOnly: Decodable {
  var schema: String
}
